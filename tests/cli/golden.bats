#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# Files of this format that were written once and are kept, and files of later ones.

load helper

@test "indexes written by earlier versions are sound, and answer as they did" {
    python3 "$tests_dir/cli/golden.py" check "$([ -n "${OMEN_TEST_QUICK-}" ] && echo 9 || echo 1)"
}

@test "newer versions, flags and sections are refused or ignored, as FORMAT.md says" {
    vectors make base.fvecs -n 40 -d 6
    omendb build -q -o base.omen base.fvecs
    python3 "$tests_dir/cli/golden.py" versions base.omen
}
