//! Small helpers that many tests share: parameters, expectations of results, and waiting.

use std::{
    fs,
    path::Path,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use super::{mcp_client::ToolResult, processes};

/// The longest wait for a condition, long enough for a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

/// Waits until a condition holds. The test fails if it does not, and names `what` it waited for.
pub(crate) async fn eventually(what: &str, condition: impl Fn() -> bool) {
    eventually_within(PATIENCE, what, condition).await;
}

/// Waits until the program has written a store for the last time after a log-in: when the login shell has answered.
pub(crate) async fn all_is_saved(store: &Path) {
    eventually("the store has what the login shell said", || {
        fs::read_to_string(store).is_ok_and(|store| store.contains("\"probe\""))
    })
    .await;
}

/// Waits for a condition with another patience, for work that costs a slow machine much time.
pub(crate) async fn eventually_within(
    patience: Duration,
    what: &str,
    condition: impl Fn() -> bool,
) {
    let deadline = Instant::now() + patience;
    while !condition() {
        assert!(
            Instant::now() < deadline,
            "after {patience:?}, still not so: {what}"
        );
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// No further parameters: `{}`.
pub(crate) fn plain() -> Value {
    json!({})
}

/// Joins the texts that `write` makes of 0, 1, 2 ….
pub(crate) fn counted(to: u32, write: impl Fn(u32) -> String) -> String {
    (0..to).map(write).collect()
}

/// Random bytes.
pub(crate) fn random(length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    getrandom::fill(&mut bytes).unwrap();
    bytes
}

/// The exit code of a command, unless there is none.
pub(crate) fn code(result: &ToolResult) -> Option<i64> {
    result.outcome()["exitCode"].as_i64()
}

/// The `status` of an outcome.
pub(crate) fn status(result: &ToolResult) -> &str {
    result.outcome()["status"].as_str().unwrap_or_default()
}

/// The content of the file with the whole output.
pub(crate) fn whole_output(result: &ToolResult) -> Vec<u8> {
    fs::read(
        result.outcome()["outputFile"]
            .as_str()
            .expect("an output file"),
    )
    .unwrap()
}

/// Asserts that a stopped command says so, and that none of its processes is left.
pub(crate) fn assert_stopped(result: &ToolResult, how: &str, port: u16, word: &str) {
    assert_eq!(status(result), how, "{result:?}");
    assert_eq!(
        (result.outcome()["processGone"].as_bool(), code(result)),
        (Some(true), None),
        "{result:?}"
    );
    assert_eq!(processes::running(port, word), [0; 0], "{result:?}");
}

/// Asserts that a call failed, and that its text has a hint and every one of the parts.
pub(crate) fn assert_refused(result: &ToolResult, parts: &[&str]) {
    let text = result.text();
    assert!(result.is_error(), "not refused: {text}");
    assert!(text.contains("\nhint: "), "no hint: {text}");
    for part in parts {
        assert!(text.contains(part), "{part:?} is missing in: {text}");
    }
}

/// Prints why a test could not run here.
#[expect(
    clippy::print_stderr,
    reason = "for the person who reads the tests' output"
)]
pub(crate) fn skipped(reason: &str) {
    eprintln!("skipped: {reason}");
}
