# `just` lists what there is. Everything here is one npm or cargo command, for those who like it shorter.

_list:
    @just --list --unsorted

# what continuous integration runs; from an empty target folder about half an hour on two cores
check:
    npm run check

# a live demonstration, on this machine alone
demo:
    npm run demo

# the release binary
build:
    npm run build

# all tests (about a quarter of an hour), or those whose name contains FILTER: just test exec::lines
test *FILTER:
    cargo test --locked {{FILTER}}

# the quick tests: everything that starts no SSH server and what answers at once (about half a minute, once built)
quick:
    cargo nextest run --locked --profile quick

# the manual, in target/manual
manual:
    npm run manual

# the documentation of the code, private items included (about a minute)
docs:
    RUSTDOCFLAGS="-D warnings" cargo doc --no-deps --locked --document-private-items

# format and lints
lint:
    cargo fmt --check
    cargo clippy --all-targets --locked -- -D warnings
