//! Dropbear, the SSH server of small systems. What works over sshd works over it too, whatever it does otherwise.

use crate::commands::{Bench, dropbear};
use crate::support::{dropbear::Dropbear, programs};
use crate::{channels, shell::torture};

async fn open() -> Bench<Dropbear> {
    dropbear(&programs::shell("sh")).await
}

#[tokio::test]
async fn no_command_breaks_the_framing_under_any_login_shell() {
    for login_shell in ["bash", "fish", "zsh", "tcsh"] {
        torture::run(dropbear(&programs::shell(login_shell)).await, torture::Language::Bash).await;
    }
}

#[tokio::test]
async fn a_hundred_commands_run_at_the_same_time() {
    let mut bench = open().await;
    channels::a_hundred_at_once(&mut bench).await;
    // Each over a connection of its own: see `wants_one_channel`.
    assert!((101..=103).contains(&bench.sshd.logins()), "{}", bench.sshd.logins());
}

#[tokio::test]
async fn two_hundred_short_commands_succeed() {
    channels::two_hundred_at_once(&mut open().await).await;
}

#[tokio::test]
async fn twenty_shells_keep_their_state() {
    channels::twenty_shells(&mut open().await).await;
}
