//! Command lines and menus in place of a login shell, as public documentation describes them. They have a terminal and
//! no commands, read keys, and take only a carriage return for Enter.

use std::sync::Mutex;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};

use super::lock;

/// Lines of a terminal with 40 rows that a pager shows at a time.
const PAGE: u32 = 39;

/// What a server is that opens a shell and runs no commands.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Device {
    /// A router with Cisco IOS: `enable` and its password `cisco`, `show running-config` with `--More--`, `reload`.
    Cisco,
    /// A router with `RouterOS`: asks for the cursor's position, redraws the line with each key.
    RouterOs,
    /// A jump server's menu of hosts.
    Menu,
}

/// The device's end of a terminal.
pub(super) struct Terminal<'a> {
    pub(super) stream: DuplexStream,
    /// Every key that was typed.
    pub(super) typed: &'a Mutex<Vec<u8>>,
}

/// Ends when the client is gone or the dialogue is over.
type Dialogue = Option<()>;

impl Device {
    pub(super) async fn serve(self, mut terminal: Terminal<'_>) {
        match self {
            Self::Cisco => cisco(&mut terminal).await,
            Self::RouterOs => router_os(&mut terminal).await,
            Self::Menu => menu(&mut terminal).await,
        };
    }
}

impl Terminal<'_> {
    async fn print(&mut self, text: &str) -> Dialogue {
        self.stream.write_all(text.as_bytes()).await.ok()
    }

    async fn key(&mut self) -> Option<u8> {
        let key = self.stream.read_u8().await.ok()?;
        lock(self.typed).push(key);
        Some(key)
    }

    /// Reads a line after a prompt. Ctrl-C gives the line up. With `redraws`, each key draws the line anew.
    async fn line(&mut self, prompt: &str, echo: bool, redraws: bool) -> Option<String> {
        let mut line = String::new();
        self.print(prompt).await?;

        loop {
            match self.key().await? {
                b'\r' => {
                    self.print("\r\n").await?;
                    return Some(line);
                }
                0x03 => {
                    line.clear();
                    self.print(&format!("^C\r\n{prompt}")).await?;
                }
                b'\n' => {}
                key => {
                    line.push(key.into());
                    if redraws {
                        self.print(&format!("\r\x1b[K{prompt}{line}")).await?;
                    } else if echo {
                        self.print(&char::from(key).to_string()).await?;
                    }
                }
            }
        }
    }

    /// Prints numbered lines, page by page, and removes each `--More--` afterwards. Space shows a page, Enter a line,
    /// `q` ends.
    async fn pages(&mut self, lines: u32, more: &str) -> Dialogue {
        let mut left = PAGE;
        for line in 1..=lines {
            self.print(&format!("line {line}\r\n")).await?;
            left -= 1;

            if left == 0 && line < lines {
                self.print(more).await?;
                left = match self.key().await? {
                    b' ' => PAGE,
                    b'\r' => 1,
                    _ => 0,
                };

                let erased = "\x08".repeat(more.len());
                self.print(&format!("{erased}{}{erased}", " ".repeat(more.len())))
                    .await?;
                if left == 0 {
                    break;
                }
            }
        }

        Some(())
    }
}

async fn cisco(terminal: &mut Terminal<'_>) -> Dialogue {
    let (mut prompt, mut pages) = ("Router>", true);
    terminal
        .print("\r\nUser Access Verification\r\n\r\n")
        .await?;

    loop {
        let line = terminal.line(prompt, true, false).await?;
        match (line.as_str(), prompt) {
            ("enable", _) => {
                prompt = match terminal.line("Password: ", false, false).await?.as_str() {
                    "cisco" => "Router#",
                    _ => "Router>",
                };
            }
            ("terminal length 0", _) => pages = false,
            ("show running-config", "Router#") if pages => {
                terminal.pages(100, " --More-- ").await?;
            }
            ("show running-config", "Router#") => {
                for line in 1..=100 {
                    terminal.print(&format!("line {line}\r\n")).await?;
                }
            }
            ("reload", "Router#") => {
                terminal
                    .line("Proceed with reload? [confirm]", false, false)
                    .await?;
                return Some(());
            }
            ("exit", _) => return Some(()),
            ("", _) => {}
            _ => {
                terminal
                    .print("% Invalid input detected at '^' marker.\r\n\r\n")
                    .await?;
            }
        }
    }
}

async fn router_os(terminal: &mut Terminal<'_>) -> Dialogue {
    // The answer is `ESC [ row ; column R`.
    terminal.print("\x1b[6n").await?;
    while terminal.key().await? != b'R' {}
    terminal
        .print("\r\n  MikroTik RouterOS 7.15 (c) 1999-2024       https://www.mikrotik.com/\r\n\r\n")
        .await?;

    loop {
        let prompt = "[\x1b[36madmin\x1b[m@\x1b[32mMikroTik\x1b[m] > ";
        let line = terminal.line(prompt, true, true).await?;
        match line.as_str() {
            "/system/identity/print" => terminal.print("  name: MikroTik\r\n\r\n").await?,
            "/log/print" => terminal.pages(50, "-- [Q quit|D dump|down]").await?,
            "/system/reboot" => {
                let answer = terminal.line("Reboot, yes? [y/N]: ", true, false).await?;
                if answer == "y" {
                    return terminal.print("system will reboot shortly\r\n").await;
                }
            }
            "/quit" => return Some(()),
            _ => {
                terminal
                    .print("bad command name (line 1 column 1)\r\n")
                    .await?;
            }
        }
    }
}

async fn menu(terminal: &mut Terminal<'_>) -> Dialogue {
    loop {
        terminal
            .print("  1) web1   10.0.0.11\r\n  2) db1    10.0.0.12\r\n  q) Exit\r\n")
            .await?;
        let host = match terminal.line("Opt> ", true, false).await?.as_str() {
            "1" => "web1",
            "2" => "db1",
            "q" => return Some(()),
            _ => continue,
        };

        loop {
            let prompt = format!("ann@{host}:~$ ");
            match terminal.line(&prompt, true, false).await?.as_str() {
                "hostname" => terminal.print(&format!("{host}\r\n")).await?,
                "exit" => break,
                _ => terminal.print("command not found\r\n").await?,
            }
        }
    }
}
