//! Our process, the server's session or its sftp-server is killed at a random moment of an edit: the file is old or new,
//! never half, and what is left is recognised by its name.
//!
//! `EDIT_KILLS=1000` is for so many moments (`npm run soak -- --kills 1000`).

use std::{
    env, fs,
    path::PathBuf,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use crate::{
    support::{
        checks::{eventually, random, skipped},
        disk::{has_extension, names},
        fixture::TestHost,
        mcp_client::ToolResult,
        open_sshd::OpenSshd,
        processes,
        program::Program,
    },
    transfer::sftp_server,
};

/// Moments of the quick form.
const MOMENTS: usize = 60;
/// Edits whose time is taken before, of each shape.
const GOOD_ONES: u32 = 3;

/// What is killed: a session with all that was started in it.
#[derive(Debug, Clone, Copy)]
enum Victim {
    Ours,
    Session,
    SftpServer,
}

/// What is edited.
#[derive(Debug, Clone, Copy)]
struct Shape {
    /// Lines of the file. Many lines take several writes.
    lines: usize,
    /// The file has two names, so that it is written in place.
    has_link: bool,
    /// The whole content is given, and not only what changes.
    is_whole: bool,
}

const SHAPES: [Shape; 5] = [
    Shape {
        lines: 20,
        has_link: false,
        is_whole: false,
    },
    Shape {
        lines: 60_000,
        has_link: false,
        is_whole: false,
    },
    Shape {
        lines: 60_000,
        has_link: false,
        is_whole: true,
    },
    Shape {
        lines: 20,
        has_link: true,
        is_whole: false,
    },
    Shape {
        lines: 60_000,
        has_link: true,
        is_whole: false,
    },
];

/// How the moments ended.
#[derive(Debug, Default)]
struct Tally {
    old: usize,
    new: usize,
    /// The file was written in part, and its old content is next to it.
    kept: usize,
    /// Temporary files that stayed.
    left: usize,
}

/// A program, and the file that it edits.
struct Scene {
    host: TestHost<OpenSshd>,
    program: Program,
}

#[tokio::test(flavor = "multi_thread")]
#[expect(clippy::print_stdout, reason = "a long run is for the counts")]
async fn a_kill_at_any_moment_leaves_the_old_or_the_new_file() {
    let Some(server) = sftp_server() else {
        return skipped("no sftp-server program");
    };
    let moments = env::var("EDIT_KILLS").map_or(MOMENTS, |count| count.parse().expect("a number"));
    let host = TestHost::openssh_with(|settings| settings.sftp = server);
    let mut program = Program::start(&host.config, host.folder()).await;
    program
        .call("ssh_connect", json!({"host": "host"}))
        .await
        .ok();
    let mut scene = Scene { host, program };

    let mut durations = Vec::new();
    for shape in SHAPES {
        durations.push(scene.good(shape).await);
    }

    let mut tally = Tally::default();
    for moment in 0..moments {
        let shape = moment % SHAPES.len();
        let victim = [Victim::Ours, Victim::Session, Victim::SftpServer][moment / SHAPES.len() % 3];
        let after = durations[shape].mul_f64(1.2 * fraction());
        scene
            .killed(SHAPES[shape], victim, after, moment, &mut tally)
            .await;
    }

    println!("{moments} moments: {tally:?}");
    assert!(
        tally.old > 0 && tally.new > 0,
        "the moments were no moments of an edit: {tally:?}"
    );
}

impl Scene {
    /// Makes good edits, and returns the time that the slowest took.
    async fn good(&mut self, shape: Shape) -> Duration {
        let mut slowest = Duration::ZERO;
        for number in 0..GOOD_ONES {
            let arguments = self.prepare(shape, number as usize).await;
            let begun = Instant::now();
            self.program.call("ssh_edit", arguments).await.ok();
            slowest = slowest.max(begun.elapsed());
        }
        slowest
    }

    /// Kills a process some time after the beginning of an edit, and looks at what is there.
    async fn killed(
        &mut self,
        shape: Shape,
        victim: Victim,
        after: Duration,
        moment: usize,
        tally: &mut Tally,
    ) {
        let what = format!("moment {moment}, {victim:?} after {after:?}, {shape:?}");
        let arguments = self.prepare(shape, moment).await;
        self.program
            .begin(
                "tools/call",
                json!({"name": "ssh_edit", "arguments": arguments}),
            )
            .await;
        // The moment is random, so there is nothing to wait for.
        tokio::time::sleep(after).await;

        let said = match victim {
            Victim::Ours => {
                processes::signal("KILL", &[self.program.pid().to_string()]);
                None
            }
            Victim::Session => {
                let scripts = processes::of_connections_to(self.host.port);
                Some(self.kill_of_server("sshd", scripts).await)
            }
            Victim::SftpServer => Some(self.kill_of_server("sftp-server", Vec::new()).await),
        };

        // What has been sent is still carried out.
        if said.is_some() {
            self.program
                .call("ssh_disconnect", json!({"session": "host"}))
                .await
                .ok();
        }
        eventually("the server's processes are gone", || {
            self.host.sshd.serving().is_empty()
                && processes::of_connections_to(self.host.port).is_empty()
        })
        .await;
        if said.is_none() {
            self.program = Program::start(&self.host.config, self.host.folder()).await;
        }

        let (old, new) = (shape.content("old", moment), shape.content("new", moment));
        let found = fs::read_to_string(self.file()).expect("the file is there");
        let litter = self.litter();
        let is_kept = || self.copies().contains(&old);
        match () {
            () if found == new => tally.new += 1,
            () if found == old => tally.old += 1,
            () if shape.has_link && is_kept() => tally.kept += 1,
            () => panic!("{what}: {} of {} bytes, {litter:?}", found.len(), new.len()),
        }
        if let Some(said) = said {
            assert!(said.is_error() || found == new, "{what}: {}", said.text());
        }

        for name in &litter {
            let is_next_to = name.starts_with(".file.")
                && ["part", "old"].iter().any(|end| has_extension(name, end));
            assert!(
                is_next_to || name.starts_with(".mcp-ssh-sessions-"),
                "{what}: {name}"
            );
        }
        tally.left += litter.len();
        // What a killed script or process leaves is in the way of edits for a minute.
        let is_ours = matches!(victim, Victim::Ours);
        for name in self.litter() {
            let path = self.host.home.join(name);
            if path.is_dir() {
                fs::remove_dir_all(&path).unwrap();
            } else if is_ours {
                fs::remove_file(&path).unwrap();
            }
        }

        // A process that lives removes its own with the next edit.
        if !is_ours {
            let arguments = self.prepare(shape, moment).await;
            self.program.call("ssh_edit", arguments).await.ok();
            eventually("temporary files are removed", || self.litter().is_empty()).await;
        }
    }

    /// Kills what the server has started under this name, and others, and returns what our program says then.
    async fn kill_of_server(&mut self, name: &str, others: Vec<u32>) -> ToolResult {
        let named = processes::descendants(self.host.sshd.pid(), name);
        for pid in named.into_iter().chain(others) {
            processes::signal("KILL", &[pid.to_string()]);
        }
        ToolResult(self.program.message().await["result"].clone())
    }

    /// Writes the old file, and has the program read it, over a connection that stands. Returns the arguments of the edit.
    async fn prepare(&mut self, shape: Shape, number: usize) -> Value {
        let (file, link) = (self.file(), self.host.home.join("link"));
        for path in [&file, &link] {
            let _ = fs::remove_file(path);
        }
        fs::write(&file, shape.content("old", number)).unwrap();
        if shape.has_link {
            fs::hard_link(&file, &link).unwrap();
        }

        self.program
            .call("ssh_read", json!({"path": file, "limit": 1}))
            .await
            .ok();
        if shape.is_whole {
            json!({"path": file, "content": shape.content("new", number)})
        } else {
            json!({"path": file, "oldText": format!("old {number}\n"), "newText": format!("new {number}\n")})
        }
    }

    fn file(&self) -> PathBuf {
        self.host.home.join("file")
    }

    /// The contents of what is left of edits, also in directories.
    fn copies(&self) -> Vec<String> {
        let paths = self.litter().into_iter().flat_map(|name| {
            let path = self.host.home.join(name);
            if path.is_dir() {
                names(&path).iter().map(|name| path.join(name)).collect()
            } else {
                vec![path]
            }
        });
        paths
            .filter_map(|path| fs::read_to_string(path).ok())
            .collect()
    }

    /// The names of what is not the file.
    fn litter(&self) -> Vec<String> {
        let mut names = names(&self.host.home);
        names.retain(|name| name != "file" && name != "link");
        names
    }
}

impl Shape {
    fn content(self, word: &str, number: usize) -> String {
        format!(
            "{}{word} {number}\n",
            "0123456789abcde\n".repeat(self.lines)
        )
    }
}

/// A random number from 0 to 1.
fn fraction() -> f64 {
    f64::from(u32::from_be_bytes(random(4).try_into().unwrap())) / f64::from(u32::MAX)
}
