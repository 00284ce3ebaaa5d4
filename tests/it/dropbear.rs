//! Dropbear, the SSH server of small systems. What works over sshd works over it too, whatever it does otherwise.

use crate::{
    channels,
    shell::torture,
    stop,
    support::{
        dropbear::Dropbear,
        fixture::{ConnectedHost, TestHost},
        programs,
    },
    terminal,
};

async fn open() -> ConnectedHost<Dropbear> {
    TestHost::dropbear(&programs::shell("sh")).connect().await
}

#[tokio::test]
async fn no_command_breaks_the_framing_under_any_login_shell() {
    for login_shell in ["bash", "fish", "zsh", "tcsh"] {
        torture::run(
            TestHost::dropbear(&programs::shell(login_shell))
                .connect()
                .await,
            torture::Language::Bash,
        )
        .await;
    }
}

#[tokio::test]
async fn a_hundred_commands_run_at_the_same_time() {
    let mut bench = open().await;
    channels::a_hundred_at_once(&mut bench).await;

    // Each over a connection of its own: see `is_single_channel`.
    assert!(
        (101..=103).contains(&bench.sshd.logins()),
        "{}",
        bench.sshd.logins()
    );
}

#[tokio::test]
async fn two_hundred_short_commands_succeed() {
    channels::two_hundred_at_once(&mut open().await).await;
}

#[tokio::test]
async fn twenty_shells_keep_their_state() {
    channels::twenty_shells(&mut open().await).await;
}

#[tokio::test]
async fn commands_are_stopped_at_their_time_limit() {
    stop::at_the_time_limit(open().await).await;
}

#[tokio::test]
async fn commands_are_stopped_when_they_are_cancelled() {
    stop::when_cancelled(open().await).await;
}

#[tokio::test]
async fn commands_are_stopped_when_their_session_is_disconnected() {
    stop::when_disconnected(open().await).await;
}

#[tokio::test]
async fn commands_are_stopped_when_the_client_goes_away() {
    stop::when_the_client_goes_away(open().await).await;
}

#[tokio::test]
async fn commands_are_stopped_when_the_program_is_ended() {
    stop::when_the_program_is_ended(open().await).await;
}

#[tokio::test]
async fn commands_have_a_terminal() {
    let Some(bench) = terminal::given(open().await) else {
        return;
    };
    terminal::has_size_type_directory_and_environment(bench).await;
    terminal::prompts::asks_and_is_answered(open().await).await;
    terminal::prompts::takes_keys(open().await).await;
    terminal::prompts::keeps_a_conversation(open().await).await;
}

#[tokio::test]
async fn commands_with_a_terminal_are_stopped() {
    let Some(bench) = terminal::given(open().await) else {
        return;
    };
    terminal::stop::at_the_time_limit(bench).await;
    terminal::stop::when_given_up(open().await).await;
    terminal::stop::by_a_signal(open().await).await;
    terminal::stop::at_the_end(open().await).await;
}

#[tokio::test]
async fn what_got_away_is_not_said_to_be_gone() {
    stop::honest::what_got_away(open().await, false).await;
}
