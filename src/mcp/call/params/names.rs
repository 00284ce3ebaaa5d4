//! Other names of parameters that clients use. A name is accepted only if its meaning is certain.

/// Other names in camel case, and the parameters for which these may stand. The first parameter
/// that the tool has is meant.
///
/// A time without a unit (`timeout`) and a key without a form (`privateKey`) are left out, because
/// their meaning is not certain.
const OTHERS: &[(&[&str], &[&str])] = &[
    (
        &["username", "userName", "remoteUser", "loginUser"],
        &["user"],
    ),
    (
        &[
            "name",
            "sessionName",
            "sessionId",
            "connectionName",
            "connectionId",
        ],
        &["session", "name"],
    ),
    (&["session"], &["name"]),
    (
        &[
            "hostname",
            "hostName",
            "server",
            "address",
            "ipAddress",
            "destination",
        ],
        &["host"],
    ),
    (&["portNumber"], &["port"]),
    (
        &[
            "privateKeyPath",
            "privateKeyFile",
            "identityFile",
            "identityPath",
            "keyFile",
            "sshKeyPath",
            "sshKey",
        ],
        &["keyPath"],
    ),
    (&["keyPassphrase", "privateKeyPassphrase"], &["passphrase"]),
    (&["cmd", "commandLine", "script"], &["command"]),
    (
        &[
            "workingDirectory",
            "workingDir",
            "workDir",
            "workdir",
            "directory",
            "dir",
        ],
        &["cwd"],
    ),
    (
        &["environment", "envVars", "environmentVariables"],
        &["env"],
    ),
    (&["input"], &["stdin"]),
    (&["stdin"], &["input"]),
    (
        &["tty", "usePty", "allocatePty", "requestPty", "terminal"],
        &["pty"],
    ),
    (&["useSudo", "asRoot", "runAsRoot"], &["sudo"]),
    (&["runInBackground", "isBackground"], &["background"]),
    (
        &["timeoutMillis", "timeoutMilliseconds", "timeoutInMs"],
        &["timeoutMs"],
    ),
    (&["waitMillis", "waitMilliseconds"], &["waitMs"]),
    (&["jobId", "id"], &["job"]),
    (&["local", "localFile"], &["localPath"]),
    (&["remote", "remoteFile"], &["remotePath"]),
    (&["excludes", "ignore"], &["exclude"]),
    (
        &[
            "file",
            "filePath",
            "filename",
            "fileName",
            "remotePath",
            "remoteFile",
            "directory",
            "dir",
        ],
        &["path"],
    ),
    (&["startLine", "firstLine", "lineOffset"], &["offset"]),
    (
        &[
            "maxLines",
            "lineCount",
            "numLines",
            "maxResults",
            "headLimit",
        ],
        &["limit"],
    ),
    (&["regex", "query", "searchPattern"], &["pattern"]),
    (&["include", "filePattern", "globPattern"], &["glob"]),
    (&["contextLines"], &["context"]),
    (&["caseInsensitive"], &["ignoreCase"]),
];

/// Other names of a transfer's source. The direction of the tool decides between local and remote
/// path.
const FROM: &[&str] = &["source", "sourcePath", "src", "from"];
/// Other names of a transfer's destination. The direction of the tool decides between local and
/// remote path.
const TO: &[&str] = &[
    "target",
    "targetPath",
    "dest",
    "destination",
    "destinationPath",
    "to",
];

/// Returns the tool's own name for the parameter `given_name`. Returns the name in camel case if the
/// tool has no such parameter.
pub(super) fn canonical(tool: &str, given_name: &str, is_known: impl Fn(&str) -> bool) -> String {
    let name = camel_case(given_name);
    // A tool's own name goes first: `session` is another name of `name` only for a tool without
    // `session`.
    if is_known(&name) {
        return name;
    }

    // `source` and `destination` mean the local or the remote path, depending on the direction.
    let ends = match tool {
        "ssh_upload" => ["localPath", "remotePath"],
        "ssh_download" => ["remotePath", "localPath"],
        _ => ["", ""],
    };

    let end = [FROM, TO]
        .iter()
        .zip(ends)
        .find(|(names, end)| names.contains(&name.as_str()) && is_known(end));

    if let Some((_, end)) = end {
        return end.to_owned();
    }

    let meant = OTHERS
        .iter()
        .filter(|(others, _)| others.contains(&name.as_str()))
        .flat_map(|(_, meant)| *meant);

    meant
        .copied()
        .find(|meant| is_known(meant))
        .map_or(name, str::to_owned)
}

/// Converts `local_path` and `local-path` to `localPath`.
fn camel_case(name: &str) -> String {
    let mut words = name.split(['_', '-']);
    let mut camel = words.next().unwrap_or_default().to_owned();
    for word in words {
        let mut letters = word.chars();
        camel.extend(letters.next().map(|first| first.to_ascii_uppercase()));
        camel.push_str(letters.as_str());
    }

    camel
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_name_stands_for_the_parameter_that_the_tool_has() {
        let exec = [
            "command",
            "session",
            "cwd",
            "env",
            "stdin",
            "pty",
            "sudo",
            "timeoutMs",
        ];

        let connect = ["host", "name", "user", "keyPath", "passphrase"];
        let files = ["localPath", "remotePath", "session"];
        let read = ["path", "session", "offset", "limit"];
        let search = ["pattern", "path", "glob", "ignoreCase", "limit"];

        for (tool, known, given_name, meant) in [
            ("ssh_exec", &exec[..], "cmd", "command"),
            ("ssh_exec", &exec, "working_directory", "cwd"),
            ("ssh_exec", &exec, "workdir", "cwd"),
            ("ssh_exec", &exec, "name", "session"),
            ("ssh_exec", &exec, "session-id", "session"),
            ("ssh_exec", &exec, "input", "stdin"),
            ("ssh_exec", &exec, "timeout-ms", "timeoutMs"),
            ("ssh_exec", &exec, "timeout", "timeout"),
            ("ssh_exec", &exec, "host", "host"),
            ("ssh_connect", &connect, "hostname", "host"),
            ("ssh_connect", &connect, "name", "name"),
            ("ssh_connect", &connect, "session_name", "name"),
            ("ssh_connect", &connect, "privateKeyPath", "keyPath"),
            ("ssh_connect", &connect, "private_key_path", "keyPath"),
            ("ssh_connect", &connect, "privateKey", "privateKey"),
            ("ssh_connect", &connect, "destination", "host"),
            ("ssh_upload", &files, "source", "localPath"),
            ("ssh_upload", &files, "destination", "remotePath"),
            ("ssh_download", &files, "source", "remotePath"),
            ("ssh_download", &files, "dest", "localPath"),
            ("ssh_download", &files, "local_file", "localPath"),
            ("ssh_read", &read, "file_path", "path"),
            ("ssh_read", &read, "directory", "path"),
            ("ssh_read", &read, "start_line", "offset"),
            ("ssh_search", &search, "query", "pattern"),
            ("ssh_search", &search, "directory", "path"),
            ("ssh_search", &search, "case_insensitive", "ignoreCase"),
            ("ssh_sessions", &[], "name", "name"),
        ] {
            assert_eq!(
                canonical(tool, given_name, |name| known.contains(&name)),
                meant,
                "{tool} {given_name}"
            );
        }
    }
}
