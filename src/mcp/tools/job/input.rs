//! Input for a running job: secrets that the user types, and the reasons of a refusal.

use crate::{
    mcp::call::{Call, tool_error::ToolError},
    session::job::{InputRefused, Job},
    ssh::prompt::prompter::{ProgramInput, Prompt, Purpose, SecretPrompt},
};

/// Longest secret in bytes. A terminal takes lines of 4,095 bytes (`MAX_CANON`, termios(3)).
const MAX_SECRET_BYTES: usize = 4000;

/// Outcome of a question to the user.
pub(super) enum AskOutcome {
    /// The secret was sent, when the output had this many bytes.
    Sent { output_before: u64 },
    /// Nothing was sent, for this reason.
    Unsent(&'static str),
}

/// Asks the user for a secret, and types it into the program. `words` are the agent's words about
/// the secret.
///
/// # Errors
/// The user cannot be asked, or the program takes no input.
pub(super) async fn ask_for_secret(
    call: &Call,
    job: &Job,
    words: &str,
) -> Result<AskOutcome, ToolError> {
    // Nobody is to type a secret in vain.
    if !job.accepts_input() {
        return Err(refused_input(job, InputRefused::Closed));
    }
    job.check_input(&call.caller).await?;

    let prompter = call.secret_prompter();
    if !prompter.can_ask_secrets() {
        return Err(ToolError::new(
            "this client cannot ask the person for a secret",
            "let the program find the secret by itself, as in a file or an agent of the host; or tell the person that a client with URL elicitation or SSH_ASKPASS is needed",
        ));
    }

    let prompt = SecretPrompt {
        account: account(call, job).await,
        purpose: Purpose::Program(Box::new(ProgramInput::new(
            &job.session,
            &job.command,
            &job.output.prompt().unwrap_or_default(),
            words,
        ))),
        prompts: vec![Prompt {
            text: "Secret: ".into(),
            echo: false,
        }],
    };

    let Some(secret) = job.ask(prompt, prompter, &call.caller.cancelled).await else {
        return Ok(AskOutcome::Unsent(if job.ended().is_some() {
            "nothing was typed: the job ended first"
        } else {
            "nothing was typed: the person did not answer"
        }));
    };

    // Control characters are keys, which could end the line or the program.
    if secret.reveal().len() > MAX_SECRET_BYTES || secret.reveal().contains(char::is_control) {
        return Ok(AskOutcome::Unsent(
            "nothing was sent: what was typed has control characters or is too long",
        ));
    }

    // Output from before does not answer the secret.
    let output_before = job.output.total();

    job.send_secret(&secret, &call.caller)
        .await
        .map_err(|refused| refused_input(job, refused))?;

    Ok(AskOutcome::Sent { output_before })
}

/// Returns the account of the job, as `user@host`, or the name of a session that is forgotten.
async fn account(call: &Call, job: &Job) -> String {
    match call.registry.lookup(Some(&job.session)).await {
        Ok(session) => session.account(),
        Err(_) => job.session.clone(),
    }
}

/// Returns the error for input refused by a job.
pub(super) fn refused_input(job: &Job, refused: InputRefused) -> ToolError {
    match refused {
        InputRefused::Remote(error) => error.into(),
        InputRefused::Full => ToolError::new(
            format!("job {} does not read its input", job.id),
            "wait until it does, or stop it with the parameter signal",
        ),
        InputRefused::Closed if job.ended().is_some() => ToolError::new(
            format!("job {} has ended", job.id),
            "read its output with ssh_job, without input",
        ),
        InputRefused::Closed => ToolError::new(
            format!("the stdin of job {} is closed", job.id),
            "start the command with ssh_exec and pty or background, and without stdin, to feed it later",
        ),
    }
}
