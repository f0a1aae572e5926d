# The compiled twin has the Python twin's signatures; tests compare the two.
from .trio._fanout_py import first_stranger as first_stranger, send_to_idle as send_to_idle
