# `just` lists what there is. Everything here is one npm or cargo command, for those who like it shorter.

_list:
    @just --list --unsorted

# what continuous integration runs
check:
    npm run check

# a live demonstration, on this machine alone
demo:
    npm run demo

# the release binary
build:
    npm run build

# all tests, or those whose name contains FILTER
test *FILTER:
    cargo test --locked {{FILTER}}

# format and lints
lint:
    cargo fmt --check
    cargo clippy --all-targets --locked -- -D warnings
