"""Every rule of the protocol has its tests: this table says which, and that they are run."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections import defaultdict
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
RULES = dict(
    re.findall(
        r"^- \*\*(\d+\.\d+)\*\* (.+)$",
        (ROOT / "docs" / "chat-rules.md").read_text(encoding="utf-8"),
        re.MULTILINE,
    )
)
#: Where a file lies that is not beside this one.
ELSEWHERE = {
    "browser_connection": "tests/end_to_end/browser/test_connection.py",
    "browser_tokens": "tests/end_to_end/browser/test_tokens.py",
}
#: Of each rule its tests: a file without ``test_`` and what its names begin with, then the names.
TESTS: dict[str, str] = {
    "1.1": "http the_page_is_at_the_root the_socket_needs_an_upgrade health nothing_else_is_served"
    " the_socket_is_nowhere_else; embedding metrics",
    "1.2": "http subprotocols",
    "1.3": "protocol bad_requests good_requests",
    "1.4": "requests the_size_of_a_message; contract the_size_of_a_message_is_counted_in_bytes;"
    " slices slices_and_histories_fit_into_a_message",
    "1.5": "requests a_binary_message_closes;"
    " contract bad_utf8_closes_with_1007_and_nobody_else_notices",
    "1.6": "contract unknown_fields_are_ignored",
    "1.7": "contract an_id_is_one_to_64_code_points_and_may_be_used_again"
    " a_name_of_64_code_points_and_not_of_65; requests the_length_of_a_text;"
    " protocol bad_requests",
    "1.8": "contract an_id_is_one_to_64_code_points_and_may_be_used_again; protocol bad_requests",
    "1.9": "contract each_request_gets_exactly_one_reply_with_its_id",
    "1.10": "contract a_push_is_no_reply",
    "1.11": "protocol bad_requests any_text_is_a_request_or_a_clear_error",
    "1.12": "protocol bad_requests; requests malformed_requests_are_answered",
    "1.13": "requests malformed_requests_are_answered; protocol bad_requests",
    "1.14": "requests ten_malformed_requests_in_a_row_close",
    "1.15": "requests requests_take_effect_in_order; time order_with_a_slow_store",
    "1.16": "contract no_push_comes_before_the_ok_that_begins_it",
    "2.1": "requests join_post_and_push direct_messages;"
    " backends direct_messages_go_to_both_inboxes a_room_and_a_user_of_one_name_are_two_logs",
    "2.2": "backends posts direct_messages_go_to_both_inboxes",
    "2.3": "slices no_hole_and_no_repeat_while_others_post; interleavings any_interleaving;"
    " prover nothing_is_lost_whatever_happens",
    "2.4": "epochs a_restart_goes_on a_lost_database a_restored_backup_begins_anew",
    "2.5": "reset live_ones_are_closed_and_can_come_back an_inbox;"
    " store_failures a_log_that_was_lost_closes_those_who_follow_it_and_nobody_else",
    "2.6": "kill ids_are_remembered_over_a_kill; prover nothing_is_lost_whatever_happens",
    "2.7": "sqlite the_database_is_as_safe_as_it_says",
    "2.8": "contract ids_are_random_with_64_bits_at_least",
    "2.9": "requests sending_again_stores_nothing_new",
    "2.10": "retention ids_are_remembered_after_a_restart; kill ids_are_remembered_over_a_kill",
    "2.11": "requests sending_again_stores_nothing_new",
    "2.12": "retention ids_are_remembered_for_a_day"
    " ids_of_direct_messages_are_remembered_while_either_side_keeps_them",
    "2.13": "requests sending_again_stores_nothing_new",
    "3.1": "time no_hello refused_hellos_do_not_extend_the_time a_hello_in_time",
    "3.2": "requests everything_else_needs_a_hello a_second_hello_is_malformed",
    "3.3": "requests hello; schema what_the_server_says_is_what_is_documented",
    "3.4": "requests rooms at_most_a_hundred_rooms;"
    " identity rooms_that_a_user_may_not_join_are_not_listed",
    "3.5": "requests join_post_and_push; hub members_are_sorted_and_at_most_two_hundred",
    "3.6": "slices with_a_position_what_follows_it; hub presence_with_several_devices",
    "3.7": "requests a_post_needs_this_connections_join",
    "3.8": "requests no_pushes_after_leave",
    "3.9": "requests join_post_and_push direct_messages",
    "3.10": "requests history",
    "3.11": "requests history_has_pages; protocol bad_requests",
    "3.12": "contract each_request_gets_exactly_one_reply_with_its_id;"
    " requests malformed_requests_are_answered",
    "3.13": "requests ping",
    "4.1": "protocol bad_requests good_requests",
    "4.2": "slices without_a_position_the_newest_page",
    "4.3": "slices with_a_position_what_follows_it the_inbox_resumes_too",
    "4.4": "slices a_long_continuation_comes_as_pushes the_inbox_resumes_too",
    "4.5": "time TestSlow::a_replay_waits_for_the_socket;"
    " outbox a_replay_does_not_count_as_messages",
    "4.6": "slices gaps; time a_trimmed_log; epochs a_position_beyond_the_end_is_a_gap",
    "4.7": "slices no_hole_and_no_repeat_while_others_post joining_again_during_a_replay",
    "4.8": "requests hello; identity the_limits_of_a_server_are_its_own",
    "5.1": "requests join_post_and_push; hub entries_go_to_those_who_are_live",
    "5.2": "requests direct_messages",
    "5.3": "requests a_direct_message_to_oneself",
    "5.4": "requests a_direct_message_to_somebody_who_is_away",
    "5.5": "hub presence_with_several_devices;"
    " identity several_connections_with_one_session_are_one_user",
    "5.6": "time a_client_that_answers_no_pings_is_ended",
    "5.7": "time TestBigRoom::only_counts_and_one_a_second;"
    " hub presence_in_a_big_room_is_a_count; requests hello",
    "5.8": "time typing_is_coalesced; hub typing_in_a_room typing_to_a_person",
    "5.9": "requests join_post_and_push;"
    " contract a_direct_message_looks_the_same_in_pushes_slices_and_histories",
    "5.10": "requests join_post_and_push",
    "6.1": "contract a_name_is_what_the_protocol_says a_name_of_64_code_points_and_not_of_65;"
    " requests invalid_names; identity names_of_identities_are_normalised",
    "6.2": "contract canonically_equal_spellings_are_one_name"
    " the_first_spelling_is_returned_everywhere",
    "6.3": "identity a_name_belongs_to_whoever_said_hello_first_and_holds_its_session",
    "6.4": "identity a_session_is_the_clients_choice_and_repeating_the_hello_is_harmless"
    " without_a_session_one_is_returned_and_is_the_key",
    "6.5": "sqlite sessions_are_not_in_the_file; contract names_and_sessions_outlive_the_server",
    "6.6": "identity several_connections_with_one_session_are_one_user",
    "6.7": "identity a_token_says_who_it_is bad_tokens_are_refused_and_the_connection_lives_on"
    " public_keys; command_line tokens;"
    " browser_tokens a_link_with_a_token_and_a_token_that_is_typed_let_in",
    "6.8": "identity a_connection_is_closed_when_its_token_expires;"
    " browser_tokens a_token_that_runs_out_is_asked_for_anew",
    "6.9": "identity a_token_without_a_key_configured_is_refused",
    "6.10": "requests the_length_of_a_text; protocol bad_requests",
    "6.11": "time the_rate_of_posts the_rate_of_other_requests",
    "6.12": "contract what_is_rate_limited_is_not_stored",
    "6.13": "requests rooms_and_users_are_capped; contract a_connection_is_in_100_rooms_at_most;"
    " command_line caps_of_rooms_and_users",
    "6.14": "identity authorize_is_asked_at_each_join_post_and_direct_message",
    "6.15": "requests a_direct_message_to_a_name_never_seen",
    "6.16": "store_failures every_request_says_so_and_connections_stay;"
    " disks a_full_disk_is_over_when_it_is_over a_commit_whose_end_is_in_doubt;"
    " redis_failover unavailable_may_be_stored_and_is_stored_once",
    "6.17": "identity a_broken_callable_is_one_traceback_and_the_connection_lives",
    "7.1": "time stopping; contract a_server_that_is_cancelled_says_1001;"
    " command_line it_stops_cleanly; client the_waits_are_random_and_grow"
    " a_restart_of_the_server_loses_nothing;"
    " browser_connection a_killed_server_comes_back_and_nothing_is_missed",
    "7.2": "client_server_faults codes_that_blame_the_client_end_it;"
    " browser_connection a_fault_of_the_page_is_not_repeated",
    "7.3": "time TestSlow::the_slow_one_is_closed_and_nobody_waits; outbox bounded_in_bytes"
    " bounded_in_messages; client who_is_too_slow_is_cut_and_misses_nothing",
    "7.4": "time TestSlow::one_that_never_reads_is_cut;"
    " client_server_faults other_codes_mean_to_come_again",
    "7.5": "client_server_faults a_token_that_ran_out_is_replaced;"
    " browser_tokens a_token_that_runs_out_is_asked_for_anew",
}


def named_by(rule: str) -> dict[str, list[str]]:
    """The names of a rule's tests, by the file that they are in."""
    found: dict[str, list[str]] = {}
    for part in TESTS[rule].split("; "):
        file, *names = part.split()
        path = ELSEWHERE.get(file, f"tests/chat/test_{file}.py")
        found[path] = [re.sub(r"(\w+)$", r"test_\1", name) for name in names]
    return found


@cache
def collected() -> dict[str, set[str]]:
    """The tests that pytest would run of the files in the table, by file."""
    files = sorted({path for rule in TESTS for path in named_by(rule)})
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "--collect-only", "-q", "-p", "no:cacheprovider", *files],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    found: dict[str, set[str]] = defaultdict(set)
    for line in done.stdout.splitlines():
        path, separator, name = line.partition("::")
        if separator:
            found[path].add(name.partition("[")[0])
    return found


def test_the_table_is_of_all_rules_and_of_no_others() -> None:
    assert list(TESTS) == list(RULES)
    assert len(RULES) >= 80
    assert all(rule.endswith((".", "`.")) for rule in RULES.values())


@pytest.mark.parametrize("rule", TESTS)
def test_every_rule_has_tests_that_are_run(rule: str) -> None:
    for path, names in named_by(rule).items():
        assert names, path
        assert set(names) <= collected()[path], path


def test_none_of_them_is_skipped() -> None:
    named = {
        (path, name) for rule in TESTS for path, all_ in named_by(rule).items() for name in all_
    }
    for path in {path for path, _ in named}:
        module = ast.parse((ROOT / path).read_text(encoding="utf-8"))
        for node in ast.walk(module):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                marks = " ".join(ast.unparse(decorator) for decorator in node.decorator_list)
                assert "skip" not in marks, (path, node.name)
                assert "xfail" not in marks, (path, node.name)
