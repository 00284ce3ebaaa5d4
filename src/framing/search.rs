//! The script that searches a tree by the programs of a host, and the beginning of what it prints.
//!
//! One script looks for a program and runs it. Everything that a caller named is a quoted word after
//! an option that takes a word, or begins with `/` or `./`, so that it becomes neither a command nor
//! an option. The script ends with its stdin: the end of the channel ends the search.

use super::quoting::quote;

/// Word before the answer on stdout and stderr, because a startup file may print as well.
pub const MARK: &[u8] = b"mcp-ssh-sessions:search:\0";
/// Length of the beginning of an answer at most.
pub const MAX_HEAD_BYTES: usize = 64 * 1024;

/// Program that searches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SearchProgram {
    /// `rg`, which writes NUL after names.
    Rg,
    /// `grep` that writes NUL after names, run by `find`.
    Grep,
    /// Another `grep`, whose output is in blocks of one file each.
    PlainGrep,
    /// `find`, for names.
    Find,
}

/// Beginning of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SearchHead {
    /// What follows, or why nothing does.
    pub start: SearchStart,
    /// Directory in which a relative path starts.
    pub directory: Vec<u8>,
    /// Length of the beginning in bytes.
    pub length: usize,
}

/// What follows the beginning of an answer, or why nothing does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SearchStart {
    /// Output of a program. In a directory, each name begins with `./`.
    Output {
        /// The program.
        program: SearchProgram,
        /// True if the path is a file.
        is_file: bool,
    },
    /// There is nothing at the path.
    Missing,
    /// The account may not read it.
    Denied,
    /// It is a device, socket or FIFO.
    Special,
    /// The program refuses the pattern with this message.
    Pattern(Vec<u8>),
    /// The host has no program that searches.
    NoProgram,
}

/// What a script searches for. Words are those of the programs.
#[derive(Debug, Clone, Default)]
pub struct SearchWords<'a> {
    /// Path that begins with `/` or `./`.
    pub path: &'a [u8],
    /// Expressions for `rg` and for `grep -E`; without any, names are listed. `grep` is not used
    /// without its own.
    pub pattern: Option<(&'a [u8], Option<&'a [u8]>)>,
    /// True if upper and lower case are the same.
    pub ignores_case: bool,
    /// Globs for `rg --glob`.
    pub rg_globs: Vec<String>,
    /// Tests for `find`, one of which holds for each wanted file.
    pub find_tests: Vec<[String; 2]>,
    /// Number of lines around a match.
    pub context: u32,
}

/// Beginning of each script: what is at the path, and the functions.
const BEGINNING: &str = r#"unset GREP_OPTIONS GREP_COLOR GREP_COLORS CDPATH POSIXLY_CORRECT
exec 3<&0 </dev/null
cd 2>/dev/null
here=$PWD nl='
'
say() { printf 'mcp-ssh-sessions:search:\0%s\0%s\0%s\0' "$1" "$here" "$2"; }
has() { command -v "$1" >/dev/null 2>&1; }
works() { "$@" >/dev/null 2>&1; [ $? -le 1 ]; }
stop() {
  group=
  if read -r stat <"/proc/$$/stat"; then
    set -- ${stat##*) }
    group=$3
  else
    group=$(ps -o pgid= -p $$) && group=$((group))
  fi
  if [ "$group" = $$ ]; then kill -TERM 0; else kill "$engine"; fi
}
"#;

/// Finds out what is at the path. `root` is what the programs get.
const LOOK: &str = r#"kind=output inside=
if [ -d "$path" ]; then
  if [ -r "$path" ] && cd "$path" 2>/dev/null; then root=. inside=yes; else kind=denied; fi
elif [ -f "$path" ]; then
  root=$path
  [ -r "$path" ] || kind=denied
elif [ -e "$path" ]; then kind=special
else kind=missing
fi
[ $kind = output ] || { say $kind; exit; }
printf 'mcp-ssh-sessions:search:\0' >&2
"#;

/// Runs the function `run`, until stdin ends.
const RUN: &str = r"run 3<&- &
engine=$!
{ read -r line; stop; } <&3 >/dev/null 2>&1 &
watcher=$!
exec 3<&-
wait $engine
status=$?
[ $status -le 125 ] || printf 'search: it ended with status %s\n' $status >&2
exec 2>/dev/null
kill $watcher
exit 0
";

/// Searches one file after another with a `grep` that knows few options. `tr` takes out NUL, which
/// is ours.
const PLAIN: &str = r#"pattern=$1 case=$2 context=$3 way=$4
shift 4
show() {
  case $(head -c 8192 <"$1" | tr -dc "\000" | wc -c) in
  *[1-9]*) printf "\0\0Binary file matches\n"; return ;;
  esac
  printf "\0%s\0" "$1"
  grep $case $context -Enh -e "$pattern" -- "$1" | tr -d "\000"
}
if [ "$way" = each ]; then
  for name do
    if grep $case -Eq -e "$pattern" -- "$name"; then show "$name"; fi
  done
else
  grep $case -El -e "$pattern" -- "$@" | while IFS= read -r name; do show "$name"; done
fi
"#;

/// Prints a batch of names with their times.
const BATCH: &str = r#"[ $# -gt 0 ] || exit 0
if stat -c %Y / >/dev/null 2>&1; then stat -c %Y "$@"; else stat -f %m "$@"; fi
printf "\0"
printf "%s\0" "$@"
printf "\0"
"#;

/// Writes the script of a search.
#[must_use]
pub fn script(words: &SearchWords<'_>) -> Vec<u8> {
    // In braces, so that the shell has read all of it before anything reads stdin.
    let mut script = b"{\npath=".to_vec();
    quote(&mut script, words.path);
    script.push(b'\n');
    script.extend_from_slice(BEGINNING.as_bytes());
    script.extend_from_slice(LOOK.as_bytes());

    match words.pattern {
        Some((rg, grep)) => append_search(&mut script, words, rg, grep),
        None => append_listing(&mut script, words),
    }

    script.extend_from_slice(RUN.as_bytes());
    script.extend_from_slice(b"}\n");
    script
}

/// Appends the choice of a program for matches, as the function `run`.
fn append_search(script: &mut Vec<u8>, words: &SearchWords<'_>, rg: &[u8], grep: Option<&[u8]>) {
    let case = if words.ignores_case { "-i" } else { "" };
    let context = match words.context {
        0 => String::new(),
        lines => format!("-C{lines}"),
    };

    script.extend_from_slice(b"rg_pattern=");
    quote(script, rg);
    script.extend_from_slice(b" grep_pattern=");
    quote(script, grep.unwrap_or_default());
    let rg = format!(
        "\nmatches() {{\n  command rg --no-config --null -nH --no-heading --color=never --column --crlf \
         --no-mmap --no-ignore-messages --hidden {case} {context}"
    );
    script.extend_from_slice(rg.as_bytes());
    append_globs(script, words);
    script.extend_from_slice(b" -e \"$1\" -- \"$2\"\n}\nwanted() {\n  ");
    append_find(script, words);
    script.extend_from_slice(b"\n}\nplain='");
    script.extend_from_slice(PLAIN.as_bytes());

    let has_grep = if grep.is_some() { "has grep" } else { "false" };
    let rest = format!(
        r#"'
binary=-I
[ "$inside" ] || binary=
if has rg && works matches x /dev/null; then
  if message=$(matches "$rg_pattern" /dev/null 2>&1) || [ $? -le 1 ]; then
    say "rg$inside"
    run() {{ matches "$rg_pattern" "$root"; }}
  else
    say pattern "$message"
    exit
  fi
elif {has_grep} && works grep -E -e x -- /dev/null; then
  message=$(command grep -E -e "$grep_pattern" -- /dev/null 2>&1) || [ $? -le 1 ] || {{ say pattern "$message"; exit; }}
  if works grep -EnHI --null -e x -- /dev/null; then
    say "grep$inside"
    run() {{ wanted -exec grep {case} {context} -EnH $binary --null -e "$grep_pattern" -- {{}} +; }}
  else
    say "plain$inside"
    plain() {{ wanted "$@" -exec sh -c "$plain" sh "$grep_pattern" "{case}" "{context}" $way {{}} +; }}
    run() {{
      way=all plain ! -path "*$nl*"
      way=each plain -path "*$nl*"
    }}
  fi
else
  say none
  exit
fi
"#
    );
    script.extend_from_slice(rest.as_bytes());
}

/// Appends the choice of a program for names, as the function `run`.
fn append_listing(script: &mut Vec<u8>, words: &SearchWords<'_>) {
    script.extend_from_slice(
        b"names() {\n  command rg --no-config --files --null --no-ignore-messages --hidden",
    );
    append_globs(script, words);
    script.extend_from_slice(b" -- \"$1\"\n}\nwanted() {\n  ");
    append_find(script, words);
    script.extend_from_slice(b"\n}\nbatch='");
    script.extend_from_slice(BATCH.as_bytes());

    script.extend_from_slice(
        br#"'
if has rg && has xargs && works names /dev/null; then
  say "rg$inside"
  run() { names "$root" | xargs -0 sh -c "$batch" sh; }
elif has find; then
  say "find$inside"
  run() { wanted -exec sh -c "$batch" sh {} +; }
else
  say none
  exit
fi
"#,
    );
}

fn append_globs(script: &mut Vec<u8>, words: &SearchWords<'_>) {
    let globs = words.rg_globs.iter().map(String::as_str);
    for glob in globs.chain(["!.git"]) {
        script.extend_from_slice(b" --glob=");
        quote(script, glob.as_bytes());
    }
}

/// Appends calls of `find` up to the action. A path that is a file needs no tests.
fn append_find(script: &mut Vec<u8>, words: &SearchWords<'_>) {
    script.extend_from_slice(
        br#"if [ "$inside" ]; then
    set -- -type d \( -name .git -o -name node_modules \) -prune -o -type f"#,
    );
    for (at, [test, glob]) in words.find_tests.iter().enumerate() {
        let joint = if at == 0 { r"\(" } else { "-o" };
        script.extend_from_slice(format!(" {joint} {test} ").as_bytes());
        quote(script, glob.as_bytes());
    }
    if !words.find_tests.is_empty() {
        script.extend_from_slice(br" \)");
    }

    script.extend_from_slice(b" \"$@\"\n  fi\n  command find -H \"$root\" \"$@\"");
}

impl SearchHead {
    /// Reads the beginning of an answer; `None` while it is not complete, or if it is none.
    #[must_use]
    pub fn parse(answer: &[u8]) -> Option<Self> {
        let start = memchr::memmem::find(answer, MARK)? + MARK.len();
        let mut fields = answer.get(start..)?.splitn(4, |byte| *byte == 0);
        let (kind, directory, message) = (fields.next()?, fields.next()?, fields.next()?);
        let rest = fields.next()?;

        let (kind, is_file) = match kind.strip_suffix(b"yes") {
            Some(kind) => (kind, false),
            None => (kind, true),
        };
        let output = |program| SearchStart::Output { program, is_file };
        let start = match kind {
            b"rg" => output(SearchProgram::Rg),
            b"grep" => output(SearchProgram::Grep),
            b"plain" => output(SearchProgram::PlainGrep),
            b"find" => output(SearchProgram::Find),
            b"missing" => SearchStart::Missing,
            b"denied" => SearchStart::Denied,
            b"special" => SearchStart::Special,
            b"pattern" => SearchStart::Pattern(message.to_vec()),
            b"none" => SearchStart::NoProgram,
            _ => return None,
        };

        Some(Self {
            start,
            directory: directory.to_vec(),
            length: answer.len() - rest.len(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_beginning_of_an_answer_is_read() {
        let head = SearchHead::parse(b"motd\nmcp-ssh-sessions:search:\0rgyes\0/home\0\0./a\x001:x");
        let output = |program, is_file| SearchStart::Output { program, is_file };
        assert_eq!(
            head,
            Some(SearchHead {
                start: output(SearchProgram::Rg, false),
                directory: b"/home".to_vec(),
                length: 43,
            })
        );

        for (answer, start) in [
            (
                &b"mcp-ssh-sessions:search:\0plain\0/\0\0"[..],
                Some(output(SearchProgram::PlainGrep, true)),
            ),
            (
                b"mcp-ssh-sessions:search:\0pattern\0/\0bad\0",
                Some(SearchStart::Pattern(b"bad".to_vec())),
            ),
            (b"mcp-ssh-sessions:search:\0other\0/\0\0", None),
            (b"mcp-ssh-sessions:search:\0missing\0/\0", None),
        ] {
            let found = SearchHead::parse(answer).map(|head| head.start);
            assert_eq!(found, start, "{}", answer.escape_ascii());
        }
    }
}
