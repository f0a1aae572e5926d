"""What the terminal programs share: safe text, colours, typed lines; imports the core and trio.

prompt_toolkit gives line editing where it is installed (extra ``terminal``).
"""
