//! Renders the page as HTML, at first and for every change. So all text that others wrote is
//! escaped here.

use std::{fmt::Write as _, time::Duration};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use sha2::{Digest as _, Sha256};

use super::activity::{
    Activity, CommandActivity, EditActivity, QuestionActivity, ShellActivity, TransferStatus,
};
use crate::{
    foreign_text::escape_html,
    mcp::{
        call::report,
        tools::{ForwardResult, SessionResult},
    },
    password::Password,
};

const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");
/// Empty icon, so that browsers do not request another icon.
const ICON: &str = "<link rel=\"icon\" href=\"data:,\">";

/// Returns the content security policy of the page: only the page's own script and style, and
/// requests to its own daemon.
pub(super) fn policy() -> String {
    let hash = |text: &str| STANDARD.encode(Sha256::digest(text));
    format!(
        "default-src 'none'; style-src 'sha256-{}'; script-src 'sha256-{}'; img-src data:; connect-src 'self'; \
         form-action 'self'; frame-ancestors 'none'; base-uri 'none'",
        hash(STYLE),
        hash(SCRIPT)
    )
}

/// Renders the whole page.
pub(super) fn page(activity: &Activity, form: &Password) -> String {
    let note = "<noscript>Without JavaScript this page shows one moment: reload it to see the next. Its buttons work.\
                </noscript>";
    let header = format!("<header><h1>SSH sessions</h1><p id=\"live\">{note}</p></header>");
    let content = content(activity, form);

    // The script comes last, when the elements that it changes exist.
    document(
        "SSH sessions",
        "",
        &format!("{header}<main>{content}</main><script>{SCRIPT}</script>"),
    )
}

/// Renders a page with a few words. With `next`, the page leads on to that address at once.
pub(super) fn words(title: &str, content: &str, next: Option<&str>) -> String {
    // The page itself starts the next request, so that the browser sends the `SameSite=Strict`
    // cookie. After a link from another site the browser would not.
    let refresh =
        next.map(|next| format!("<meta http-equiv=\"refresh\" content=\"0;url={next}\">"));
    document(
        title,
        &refresh.unwrap_or_default(),
        &format!("<main class=\"words\"><h1>{title}</h1>{content}</main>"),
    )
}

/// Wraps a title and a body in a complete document.
fn document(title: &str, head: &str, body: &str) -> String {
    format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\
         <meta name=\"color-scheme\" content=\"light dark\">{ICON}{head}<title>{title}</title>\
         <style>{STYLE}</style></head><body>{body}</body></html>"
    )
}

/// Renders the part of the page which changes.
pub(super) fn content(activity: &Activity, form: &Password) -> String {
    let (running, ended): (Vec<_>, Vec<_>) = activity
        .jobs
        .iter()
        .partition(|command| command.ending.is_none());

    let (saved, open): (Vec<_>, Vec<_>) = activity
        .sessions
        .iter()
        .partition(|session| session.is_saved());

    let form = escape_html(form.reveal());
    let mut html = String::new();

    if let Some(notice) = &activity.notice {
        let _ = write!(
            html,
            "<p id=\"notice\" class=\"notice\">{}</p>",
            escape_html(notice)
        );
    }

    let questions: String = activity
        .questions
        .iter()
        .map(|each| question(each, &form))
        .collect();
    if !questions.is_empty() {
        section(
            &mut html,
            "questions",
            "Waiting for your yes",
            questions,
            "",
        );
    }

    let now = running
        .iter()
        .rev()
        .map(|each| command(each, &form))
        .collect();

    section(
        &mut html,
        "running",
        "Running",
        now,
        "No command is running.",
    );

    // Transfers are rare, so the section does not appear without one.
    let moving: String = activity.transfers.iter().map(transfer).collect();
    if !moving.is_empty() {
        section(&mut html, "transfers", "Transfers", moving, "");
    }

    let forwards: String = activity
        .forwards
        .iter()
        .map(|each| forward(each, &form))
        .collect();
    if !forwards.is_empty() {
        section(&mut html, "forwards", "Forwarded ports", forwards, "");
    }

    let edits: String = activity.edits.iter().rev().map(edit).collect();
    if !edits.is_empty() {
        section(&mut html, "edits", "Edited lately", edits, "");
    }

    let mut sessions: String = open
        .iter()
        .map(|each| session(each, &activity.shells, &form))
        .collect();

    // Saved sessions are of no interest until they connect, so they are folded up.
    if !saved.is_empty() {
        let each: String = saved.iter().map(|session| saved_line(session)).collect();
        let _ = write!(
            sessions,
            "<details id=\"saved\"><summary>{} saved, not connected since the daemon started</summary><ul>{each}</ul>\
             </details>",
            saved.len()
        );
    }

    section(
        &mut html,
        "sessions",
        "Sessions",
        sessions,
        "None yet: an agent makes one with ssh_connect.",
    );

    let past: String = ended
        .iter()
        .rev()
        .map(|each| command(each, &form))
        .collect();

    if !past.is_empty() {
        section(&mut html, "ended", "Ended lately", past, "");
    }

    html
}

/// Appends a section. Without content, `otherwise` stands in its place.
fn section(html: &mut String, id: &str, title: &str, content: String, otherwise: &str) {
    let content = if content.is_empty() {
        format!("<p class=\"none\">{otherwise}</p>")
    } else {
        content
    };

    let _ = write!(
        html,
        "<section id=\"{id}\"><h2>{title}</h2>{content}</section>"
    );
}

/// Renders a question, with a button for each answer.
fn question(question: &QuestionActivity, form: &str) -> String {
    let QuestionActivity {
        number,
        asked_at,
        doing,
        hosts,
        details,
        text,
        answers,
    } = question;

    let hosts = hosts
        .iter()
        .map(|host| format!("<li>{}</li>", host.html()))
        .collect::<Vec<_>>()
        .concat();
    let details = details
        .iter()
        .map(|(label, text)| format!("<p class=\"facts\">{}: {}</p>", label.html(), text.html()))
        .collect::<Vec<_>>()
        .concat();
    let text = if text.is_empty() {
        String::new()
    } else {
        format!("<pre class=\"command\">{}</pre>", text.html())
    };

    let buttons: String = answers
        .iter()
        .map(|answer| {
            let value = format!("{number} {answer}");
            let label = format!("Answer {answer}");
            button("/answer", "answer", &value, form, answer, &label)
        })
        .collect();

    format!(
        "<article class=\"card\" id=\"question-{number}\"><h3>The agent wants to {}</h3><ul>{hosts}</ul>{details}{text}\
         <div class=\"answers\">{buttons}</div><p class=\"facts\">since {}</p></article>",
        doing.html(),
        time(asked_at),
    )
}

/// Renders a command: open while running, folded up after the end.
fn command(command: &CommandActivity, form: &str) -> String {
    let CommandActivity {
        job,
        ending,
        prompt,
        stopped_by_user,
        stdout_lines,
        stderr_lines,
    } = command;

    let heading = match &job.shell {
        Some(shell) => format!(
            "{} <small>shell {}</small>",
            escape_html(&job.session),
            escape_html(shell)
        ),
        None => escape_html(&job.session),
    };

    let mut facts = vec![format!("since {}", time(&job.started_at))];
    facts.extend(job.detached.then(|| "detached".to_owned()));
    facts.extend((job.stdout_bytes > 0).then(|| format!("stdout {}", size(job.stdout_bytes))));
    facts.extend((job.stderr_bytes > 0).then(|| format!("stderr {}", size(job.stderr_bytes))));
    facts.push(format!("job {}", escape_html(&job.job)));
    let output = lines("out", stdout_lines) + &lines("err", stderr_lines);
    let took = Duration::from_millis(job.duration_ms);
    let facts = facts.join(" · ");
    // The script of the page finds elements again by their id, so that a folded-out command stays
    // so.
    let id = escape_html(&job.job);

    if let Some(ending) = ending {
        // The words of `report::how_it_ended` for a command that succeeded.
        let well = if ending == "exit 0" { "good" } else { "bad" };
        let by_you = if *stopped_by_user { ", by you" } else { "" };

        return format!(
            "<details class=\"card\" id=\"job-{id}\"><summary><b>{heading}</b> <span class=\"{well}\">{}{by_you}</span> \
             <span class=\"took\">{}</span><code>{}</code></summary><pre class=\"command\">{}</pre>{output}\
             <p class=\"facts\">{facts}</p></details>",
            escape_html(ending),
            report::duration(took),
            escape_html(job.command.lines().next().unwrap_or_default()),
            escape_html(&job.command),
        );
    }

    let waits = prompt.as_ref().map(|prompt| {
        format!(
            "<p class=\"notice\">It seems to wait for input at <code>{}</code></p>",
            escape_html(prompt)
        )
    });

    // A second click would do nothing: the command is being stopped already.
    let stop = if *stopped_by_user {
        "<button disabled>Stopping …</button>".to_owned()
    } else {
        button(
            "/stop",
            "job",
            &id,
            form,
            "Stop",
            &format!("Stop the command in {}", escape_html(&job.session)),
        )
    };

    format!(
        "<article class=\"card\" id=\"job-{id}\"><div class=\"top\"><h3>{heading} <span class=\"took\">{}</span></h3>{stop}\
         </div><pre class=\"command\">{}</pre>{output}{}<p class=\"facts\">{facts}</p></article>",
        elapsed(took),
        escape_html(&job.command),
        waits.unwrap_or_default(),
    )
}

/// Renders the last lines of an output. Returns an empty text without lines.
fn lines(class: &str, lines: &[String]) -> String {
    if lines.is_empty() {
        return String::new();
    }

    let label = if class == "err" {
        "standard error, last lines"
    } else {
        "output, last lines"
    };

    // `tabindex` lets the keyboard reach an area that scrolls.
    format!(
        "<pre class=\"{class}\" tabindex=\"0\" aria-label=\"{label}\">{}</pre>",
        escape_html(&lines.join("\n"))
    )
}

/// Renders a transfer with a progress bar.
fn transfer(transfer: &TransferStatus) -> String {
    let TransferStatus {
        session,
        direction,
        local_path,
        remote_path,
        duration_ms,
        bytes,
        expected,
        files,
        file,
    } = transfer;

    // Remote paths are written as for scp(1), SESSION:PATH.
    let (from, to) = match *direction {
        "upload" => (
            escape_html(local_path),
            format!("{}:{}", escape_html(session), escape_html(remote_path)),
        ),
        _ => (
            format!("{}:{}", escape_html(session), escape_html(remote_path)),
            escape_html(local_path),
        ),
    };

    // Files may have grown since they were counted, which makes the total useless.
    let known = *expected > 0 && expected >= bytes;
    let bar = if known {
        format!(" max=\"{expected}\" value=\"{bytes}\"")
    } else {
        String::new()
    };

    let mut facts = Vec::new();
    facts.extend(known.then(|| format!("{} of {}", size(*bytes), size(*expected))));
    facts.extend((!known && *bytes > 0).then(|| size(*bytes)));
    facts.extend(
        (*files > 0).then(|| format!("{files} file{}", if *files == 1 { "" } else { "s" })),
    );

    facts.extend((!file.is_empty()).then(|| escape_html(file)));

    format!(
        "<article class=\"card\"><h3>{session} <small>{direction}</small> <span class=\"took\">{}</span></h3>\
         <p class=\"path\">{from} → {to}</p><progress aria-label=\"{direction}\"{bar}></progress>\
         <p class=\"facts\">{}</p></article>",
        elapsed(Duration::from_millis(*duration_ms)),
        facts.join(" · "),
        session = escape_html(session),
    )
}

/// Renders a forward, with a button which closes it.
fn forward(forward: &ForwardResult, form: &str) -> String {
    let id = escape_html(&forward.id);
    let (session, to) = (forward.session.html(), escape_html(&forward.to));

    // Only a browser's own scheme becomes a link.
    let listen = match &forward.url {
        Some(url) if url.starts_with("http://") => format!(
            "<a href=\"{url}\" target=\"_blank\" rel=\"noreferrer\">{url}</a>",
            url = escape_html(url)
        ),
        Some(url) => escape_html(url),
        None => escape_html(&forward.listen),
    };

    let path = if forward.direction == "local" {
        format!("{listen} → {session} {to}")
    } else {
        format!("{session} {listen} → this machine {to}")
    };

    let class = if forward.state == "open" {
        "good"
    } else {
        "bad"
    };
    let state = match &forward.reason {
        Some(reason) if !reason.is_empty() => format!("{}: {}", forward.phrase, reason.html()),
        _ => forward.phrase.to_owned(),
    };

    let mut facts = vec![format!(
        "{} of {} connections open",
        forward.open, forward.accepted
    )];
    facts.extend((forward.failed > 0).then(|| format!("{} failed", forward.failed)));
    facts.extend((forward.reset > 0).then(|| format!("{} reset", forward.reset)));
    facts.extend(
        (forward.strangers > 0).then(|| format!("{} of other users refused", forward.strangers)),
    );
    facts.push(format!(
        "{} out, {} in",
        size(forward.bytes_to),
        size(forward.bytes_from)
    ));

    let close = button(
        "/close",
        "forward",
        &id,
        form,
        "Close",
        &format!("Close the forward {id}"),
    );

    format!(
        "<article class=\"card\" id=\"forward-{id}\"><div class=\"top\"><h3>{id} <small class=\"{class}\">{state}</small></h3>\
         {close}</div><p class=\"path\">{path}</p><p class=\"facts\">{}</p></article>",
        facts.join(" · ")
    )
}

/// Renders an edit, folded up, with the diff inside.
fn edit(edit: &EditActivity) -> String {
    let EditActivity {
        number,
        session,
        path,
        edited_at,
        added,
        removed,
        diff,
    } = edit;

    let lines = diff.raw().lines().map(|line| {
        let text = escape_html(line);
        match line.as_bytes().first() {
            Some(b'+') => format!("<ins>{text}</ins>\n"),
            Some(b'-') => format!("<del>{text}</del>\n"),
            _ => text + "\n",
        }
    });

    format!(
        "<details class=\"card\" id=\"edit-{number}\"><summary><b>{}</b> <span class=\"good\">+{added}</span> \
         <span class=\"bad\">−{removed}</span> <span class=\"took\">{}</span><code>{path}</code></summary>\
         <p class=\"path\">{path}</p><pre class=\"out\" tabindex=\"0\" aria-label=\"changed lines\">{}</pre></details>",
        escape_html(session),
        time(edited_at),
        lines.collect::<String>(),
        path = path.html(),
    )
}

/// Renders a session, including the shells.
fn session(session: &SessionResult, shells: &[ShellActivity], form: &str) -> String {
    let name = escape_html(session.name());

    let stop = if session.is_connected() {
        button(
            "/disconnect",
            "session",
            &name,
            form,
            "Disconnect",
            &format!("Disconnect {name}"),
        )
    } else {
        String::new()
    };

    let state = session.state();
    let mut facts = vec![escape_html(&session.address())];

    facts.extend(
        session
            .connected_at
            .as_ref()
            .map(|at| format!("since {}", time(at))),
    );

    facts.extend(
        session
            .auth_method
            .as_ref()
            .map(|method| format!("log-in by {}", escape_html(method))),
    );

    facts.extend(session.default.then(|| "default".to_owned()));
    // Once a session is connected, the error of an earlier attempt is out of date.
    let error = session
        .last_error
        .as_ref()
        .filter(|_| !session.is_connected());

    let error = error
        .map(|error| format!("<p class=\"bad\">{}</p>", escape_html(error)))
        .unwrap_or_default();

    let mine = shells
        .iter()
        .filter(|shell| shell.session == session.name())
        .map(|shell| {
            format!(
                "<li><b>{}</b> <small class=\"{state}\">{state}</small> <code>{}</code></li>",
                escape_html(&shell.shell),
                escape_html(&shell.cwd),
                state = shell.state
            )
        })
        .collect::<Vec<_>>()
        .concat();

    let mine = if mine.is_empty() {
        mine
    } else {
        format!("<ul class=\"shells\">{mine}</ul>")
    };

    format!(
        "<article class=\"card\"><div class=\"top\"><h3>{name} <small class=\"{state}\">{state}</small></h3>{stop}</div>\
         <p class=\"facts\">{}</p>{mine}{error}</article>",
        facts.join(" · ")
    )
}

/// Renders a saved session as an item of a list.
fn saved_line(session: &SessionResult) -> String {
    format!(
        "<li><b>{}</b> {}</li>",
        escape_html(session.name()),
        escape_html(&session.address())
    )
}

/// Renders a button as a form, which works without the script. The arguments have to be escaped
/// already.
fn button(action: &str, field: &str, value: &str, form: &str, text: &str, label: &str) -> String {
    format!(
        "<form method=\"post\" action=\"{action}\"><input type=\"hidden\" name=\"key\" value=\"{form}\">\
         <input type=\"hidden\" name=\"{field}\" value=\"{value}\"><button aria-label=\"{label}\">{text}</button></form>"
    )
}

/// Renders a moment, which the script of the page shows in the user's time zone.
fn time(timestamp: &str) -> String {
    let timestamp = escape_html(timestamp);
    let shown = timestamp.replace('T', " ").replace('Z', " UTC");
    format!("<time datetime=\"{timestamp}\">{shown}</time>")
}

/// Formats a duration in whole seconds, so that the page changes at most once a second.
fn elapsed(duration: Duration) -> String {
    let seconds = duration.as_secs();
    match (seconds / 3600, seconds / 60 % 60, seconds % 60) {
        (0, 0, seconds) => format!("{seconds} s"),
        (0, minutes, seconds) => format!("{minutes} min {seconds:02} s"),
        (hours, minutes, _) => format!("{hours} h {minutes:02} min"),
    }
}

/// Formats a number of bytes with a decimal unit.
#[expect(clippy::cast_precision_loss, reason = "to be looked at")]
fn size(bytes: u64) -> String {
    let (mut amount, mut units) = (bytes as f64, ["kB", "MB", "GB", "TB"].into_iter());
    let mut unit = "bytes";
    while amount >= 1000.0
        && let Some(larger) = units.next()
    {
        (amount, unit) = (amount / 1000.0, larger);
    }

    if unit == "bytes" {
        format!("{bytes} bytes")
    } else {
        format!("{amount:.1} {unit}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_and_sizes_read_as_people_say_them() {
        for (seconds, text) in [
            (0, "0 s"),
            (59, "59 s"),
            (61, "1 min 01 s"),
            (3_840, "1 h 04 min"),
        ] {
            assert_eq!(elapsed(Duration::from_secs(seconds)), text);
        }

        for (bytes, text) in [
            (0, "0 bytes"),
            (999, "999 bytes"),
            (1_500, "1.5 kB"),
            (2_000_000_000, "2.0 GB"),
        ] {
            assert_eq!(size(bytes), text);
        }
    }

    #[test]
    fn a_question_shows_what_is_asked_and_nothing_in_it_is_html() {
        let html = question(
            &QuestionActivity {
                number: 7,
                asked_at: "2026-11-29T08:00:00Z".into(),
                doing: "run this <b>".into(),
                hosts: vec!["web<i> (me@h, port 22): run = \"ask\"".into()],
                details: vec![("In the directory".into(), "/a<b>".into())],
                text: "rm -rf <x>\u{1b}\n".into(),
                answers: vec!["once", "no"],
            },
            "k",
        );

        for part in [
            "id=\"question-7\"",
            "The agent wants to run this &lt;b&gt;",
            "<li>web&lt;i&gt; (me@h, port 22): run = &quot;ask&quot;</li>",
            "In the directory: /a&lt;b&gt;",
            "<pre class=\"command\">rm -rf &lt;x&gt;\u{241b}\n</pre>",
            "action=\"/answer\"><input type=\"hidden\" name=\"key\" value=\"k\">",
            "name=\"answer\" value=\"7 once\"><button aria-label=\"Answer once\">once</button>",
            "name=\"answer\" value=\"7 no\">",
        ] {
            assert!(html.contains(part), "{part} in {html}");
        }
        assert!(!html.contains("<b>"), "{html}");
    }

    #[test]
    fn an_edit_shows_its_diff_and_nothing_in_it_is_html() {
        let html = edit(&EditActivity {
            number: 7,
            session: "a<b".into(),
            path: "/etc/<i>\u{202e}".into(),
            edited_at: "2026-11-29T08:00:00Z".into(),
            added: 1,
            removed: 2,
            diff: "@@ -1,3 +1,2 @@\n same\n-<b>\n-\n+\u{1b}&\n".into(),
        });

        for part in [
            "id=\"edit-7\"",
            "<b>a&lt;b</b>",
            "+1</span>",
            "−2</span>",
            "<p class=\"path\">/etc/&lt;i&gt;\u{fffd}</p>",
            "<time datetime=\"2026-11-29T08:00:00Z\">",
            ">@@ -1,3 +1,2 @@\n same\n<del>-&lt;b&gt;</del>\n<del>-</del>\n<ins>+\u{241b}&amp;</ins>\n</pre>",
        ] {
            assert!(html.contains(part), "{part} in {html}");
        }
    }

    #[test]
    fn a_forward_is_a_link_only_if_a_browser_can_open_it() {
        let page = ForwardResult {
            id: "f3".into(),
            session: "a<b".into(),
            direction: "local",
            listen: "127.0.0.1:5173".into(),
            url: Some("http://127.0.0.1:5173".into()),
            to: "127.0.0.1:80".into(),
            state: "open",
            phrase: "open",
            reason: None,
            open: 1,
            accepted: 2,
            failed: 0,
            reset: 0,
            strangers: 0,
            bytes_to: 1_500,
            bytes_from: 0,
        };

        let html = forward(&page, "k");
        for part in [
            "id=\"forward-f3\"",
            "action=\"/close\"><input type=\"hidden\" name=\"key\" value=\"k\">",
            "name=\"forward\" value=\"f3\"",
            "<small class=\"good\">open</small>",
            "<a href=\"http://127.0.0.1:5173\" target=\"_blank\" rel=\"noreferrer\">http://127.0.0.1:5173</a> → a&lt;b 127.0.0.1:80",
            ">1 of 2 connections open · 1.5 kB out, 0 bytes in<",
        ] {
            assert!(html.contains(part), "{part} in {html}");
        }

        let html = forward(
            &ForwardResult {
                direction: "remote",
                url: None,
                listen: "/tmp/<i>".into(),
                state: "refused",
                phrase: "this machine refuses",
                reason: Some("<b>".into()),
                failed: 4,
                reset: 5,
                strangers: 6,
                ..page
            },
            "k",
        );
        for part in [
            "a&lt;b /tmp/&lt;i&gt; → this machine 127.0.0.1:80",
            "<small class=\"bad\">this machine refuses: &lt;b&gt;</small>",
            " · 4 failed · 5 reset · 6 of other users refused · ",
        ] {
            assert!(html.contains(part), "{part} in {html}");
        }
        assert!(!html.contains("href"), "{html}");
    }

    #[test]
    fn a_bar_shows_how_far_a_transfer_is_as_soon_as_that_is_known() {
        let started = TransferStatus {
            session: "a<b".into(),
            direction: "upload",
            remote_path: "/x".into(),
            ..TransferStatus::default()
        };

        let html = transfer(&started);
        assert!(
            html.contains("<progress aria-label=\"upload\"></progress>")
                && html.contains("a&lt;b:/x"),
            "{html}"
        );

        let html = transfer(&TransferStatus {
            bytes: 1_000,
            expected: 4_000,
            files: 2,
            file: "c&d".into(),
            ..started
        });

        let bar = "<progress aria-label=\"upload\" max=\"4000\" value=\"1000\"></progress>";
        assert!(
            html.contains(bar) && html.contains("1.0 kB of 4.0 kB · 2 files · c&amp;d"),
            "{html}"
        );
    }
}
