# SPDX-License-Identifier: Apache-2.0
"""Functional tests that are about machines, each with the reason why a process sandbox cannot be asked. Names are
as pytest has them, without the folder; one without brackets is all of its parameters, one without `::` a file."""

import os
import re

PARTS = "a process sandbox has neither guest kernel nor initramfs nor VMM; test_process.py: a missing agent"
KVM = "the choice between vm and vm-emulated: nothing is chosen where process is asked for"
DEVICES = "root trees have no device files; test_process.py: a tar with names and links that lead out"
KERNEL = "the host's kernel is not the sandbox's to panic, reset or halt: the calls are refused"
CGROUPS = "no cgroups can be made in a process sandbox; test_process.py: kills and out of memory without them"
CONSOLE = "there is no kernel that fills a console"
ONE_ID = "without subordinate ids an ordinary user's process sandbox has one id: test_process_ids.py has the others"
NO_CGROUP = "an ordinary user's sandbox has no cgroup here that would count its memory: test_process.py has the rlimit"
NO_NEW_PRIVS = "setuid programs and file capabilities are out of force on process"

REASONS = {
    "test_bad_input.py::test_a_broken_part_of_the_guest_is_refused": PARTS,
    "test_bad_input.py::test_a_missing_part_is_named": PARTS,
    "test_bad_input.py::test_no_qemu_is_told": KVM,
    "test_bad_input.py::test_without_a_usable_kvm_the_emulated_machine_runs_and_says_so": KVM,
    "test_bad_input.py::test_a_damaged_disk_template_is_made_anew": "writes go to a tmpfs, not to a disk",
    "test_bad_input.py::test_a_forbidden_kvm_is_told": KVM,
    "test_bad_input.py::test_absolute_names_links_and_devices_stay_inside": DEVICES,
    "test_cli_lifetime.py::test_a_detached_start_lets_go_of_its_callers_descriptors":
        "a shell's own words, which name no level; the supervisor is the same program",
    "test_cli_lifetime.py::test_a_debug_console_without_a_reader_stops_nothing": CONSOLE,
    "test_cli_lifetime.py::test_the_console_of_a_running_sandbox_can_be_read": CONSOLE,
    "test_cli_run.py::test_start_bench_measures_three_clocks": "two of the clocks begin with a machine's reset",
    "test_cli_run.py::test_the_machine_dying_under_a_program_is_120": KERNEL,
    "test_inside.py::test_a_panic_is_named": KERNEL,
    "test_inside.py::test_a_reset_from_inside_is_a_machine_that_died": KERNEL,
    "test_inside.py::test_what_a_command_writes_to_the_console_ends_nothing": CONSOLE,
    "test_lifetimes.py::test_a_guest_that_powers_off_is_reported_as_such": KERNEL,
    "test_inside.py::test_user_namespaces_and_mounts_in_them_work": "nested user namespaces are refused on process",
    "test_inside.py::test_cgroups_and_container_stores_are_there": CGROUPS,
    "test_inside.py::test_cgroups_go_when_the_last_descendant_ends": CGROUPS,
    "test_inside.py::test_fuse_is_everybodys": "process has no device but null, zero, full, random, urandom and tty",
    "test_inside.py::test_the_agents_port_is_its_own": "the agent's channel is a socket without a name",
    "test_inside.py::test_file_capabilities_of_the_image_hold": NO_NEW_PRIVS,
    "test_inside.py::test_setuid_programs_of_the_image_work": NO_NEW_PRIVS,
    "test_inspect_walls.py::test_the_machine_is_apart_and_every_promised_wall_is_looked_for":
        "of a machine's empty root; test_process.py: every promised wall is in force",
    "test_inspect_walls.py::test_each_class_of_thread_has_its_table": "the classes are the machine's threads",
    "test_limits.py::test_a_disk_that_lies_in_memory_can_be_filled[an overlay above tmpfs]":
        "ids cannot be mapped on an overlay, which is refused",
    "test_kvm.py": KVM,
    "test_microbox.py": "microbox has no image and no level to choose",
    "test_microbox_network.py": "microbox has no image and no level to choose",
    "test_microbox_notices.py": "microbox has no image and no level to choose",
    "test_microbox_workloads.py": "microbox has no image and no level to choose",
    "test_erofs.py": "root disks are mounted by hand there",
}

# Of an ordinary user's, beside those.
USERS_REASONS = {
    "test_cli_run.py::test_options_reach_the_program": ONE_ID,
    "test_inside.py::test_su_changes_the_user": ONE_ID,
    "test_inside.py::test_users_come_from_the_images_own_files": ONE_ID,
    "test_cli_run.py::test_out_of_memory_is_137_and_named": NO_CGROUP,
    "test_inside.py::test_a_memory_hog_is_named_and_its_sandbox_lives": NO_CGROUP,
}


def reason(nodeid):
    """Why the test is left out, or None."""
    from conftest import several_ids
    file, _, test = nodeid.partition("::")
    name = f"{file.rsplit('/', 1)[-1]}::{test}"
    for known in (name, re.sub(r"\[.*", "", name), name.split("::")[0]):
        if known in REASONS:
            return REASONS[known]
        if os.geteuid() != 0 and known in USERS_REASONS and not (USERS_REASONS[known] == ONE_ID and several_ids()):
            return USERS_REASONS[known]
    return None
