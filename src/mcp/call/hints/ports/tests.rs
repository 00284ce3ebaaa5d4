use super::*;

fn ports(text: &str) -> Vec<u16> {
    let ports = listening_ports([text]);
    ports.into_iter().map(NonZeroU16::get).collect()
}

#[test]
#[expect(clippy::too_many_lines, reason = "it is a table")]
fn a_server_that_says_its_port_is_noticed() {
    for (line, port) in [
        ("http://localhost:5173", 5173),
        ("http://127.0.0.1:8000/", 8000),
        ("  http://0.0.0.0:8080", 8080),
        ("http://[::]:3000", 3000),
        ("http://[::1]:3000/", 3000),
        ("    http://localhost:8888/tree?token=0a1b", 8888),
        (" or http://127.0.0.1:8888/lab?token=0a1b", 8888),
        ("  ➜  Local:   http://localhost:5173/", 5173),
        ("   - Local:        http://localhost:3000", 3000),
        ("┃ Local    http://localhost:4321/", 4321),
        (
            "<i> [webpack-dev-server] Loopback: http://localhost:8080/",
            8080,
        ),
        ("  Local URL: http://localhost:8501", 8501),
        ("Running on local URL:  http://127.0.0.1:7860", 7860),
        ("listening on port 3000", 3000),
        ("Listening on :8080", 8080),
        ("listening on *:3000", 3000),
        ("Server listening on 0.0.0.0:8080.", 8080),
        ("listening on 0.0.0.0:8080", 8080),
        ("2024/01/02 10:00:00 Listening on 127.0.0.1:8080...", 8080),
        ("Ncat: Listening on :::9000", 9000),
        ("Listening on 0.0.0.0 9000", 9000),
        ("listening on [any] 9000 ...", 9000),
        ("Server listening on 5201 (test #1)", 5201),
        ("Example app listening on port 3000!", 3000),
        ("App listening at http://localhost:3000", 3000),
        (
            r#"{"level":30,"msg":"Server listening at http://127.0.0.1:3000"}"#,
            3000,
        ),
        ("Server running at http://localhost:5000/", 5000),
        ("Server running at 127.0.0.1:5000", 5000),
        ("Server is running on PORT: 5000", 5000),
        ("🚀 Server ready at http://localhost:4000/", 4000),
        ("[wrangler:inf] Ready on http://localhost:8787", 8787),
        (
            "ready - started server on 0.0.0.0:3000, url: http://localhost:3000",
            3000,
        ),
        ("⇨ http server started on [::]:1323", 1323),
        (
            "INFO:     Uvicorn running on http://127.0.0.1:8000 (Press CTRL+C to quit)",
            8000,
        ),
        (
            "TensorBoard 2.16.2 at http://localhost:6006/ (Press CTRL+C to quit)",
            6006,
        ),
        (" * Running on http://127.0.0.1:5000", 5000),
        (
            "[2024-01-02 10:00:00 +0000] [7] [INFO] Listening at: http://127.0.0.1:8000 (7)",
            8000,
        ),
        (
            "Starting development server at http://127.0.0.1:8000/",
            8000,
        ),
        (
            "Serving HTTP on 0.0.0.0 port 8000 (http://0.0.0.0:8000/) ...",
            8000,
        ),
        ("Serving HTTP on :: port 8000 (http://[::]:8000/) ...", 8000),
        (
            "[Tue Jan  2 10:00:00 2024] PHP 8.3.1 Development Server (http://localhost:8000) started",
            8000,
        ),
        ("* Listening on http://127.0.0.1:3000", 3000),
        ("* Listening on tcp://localhost:3000", 3000),
        (
            "Web Server is available at //localhost:1313/ (bind address 127.0.0.1)",
            1313,
        ),
        ("    Server address: http://127.0.0.1:4000/", 4000),
        ("[11ty] Server at http://localhost:8080/", 8080),
        (
            "[info] Running Shop.Endpoint with Bandit 1.5.0 at 127.0.0.1:4000 (http)",
            4000,
        ),
        ("🚀 Rocket has launched from http://127.0.0.1:8000", 8000),
        ("[GIN-debug] Listening and serving HTTP on :8080", 8080),
        (
            "Tomcat started on port(s): 8080 (http) with context path ''",
            8080,
        ),
        (
            "o.s.b.web.embedded.netty.NettyWebServer : Netty started on port 8080 (http)",
            8080,
        ),
        ("info: Now listening on: http://localhost:5000", 5000),
        (
            "2024-01-02 10:00:00 UTC [7] LOG:  listening on IPv4 address \"127.0.0.1\", port 5432",
            5432,
        ),
        (
            "7:M 02 Jan 2024 * Ready to accept connections on port 6379",
            6379,
        ),
        (
            "mysqld: ready for connections. Version: '8.0.36'  socket: '/run/mysqld/mysqld.sock'  port: 3306",
            3306,
        ),
        (
            r#""msg":"Waiting for connections","attr":{"port":27017,"ssl":"off"}}"#,
            27017,
        ),
        (
            "DevTools listening on ws://127.0.0.1:9222/devtools/browser/0a",
            9222,
        ),
        ("Forwarding from 127.0.0.1:8080 -> 80", 8080),
        (
            r#"level=info msg="HTTP Server Listen" logger=http.server address=[::]:3000"#,
            3000,
        ),
        (r#"level=INFO msg="starting server" addr=:8080"#, 8080),
        ("Bound to 127.0.0.1:8080", 8080),
        ("listening on port 65535", 65535),
    ] {
        assert_eq!(ports(line), [port], "{line}");
    }
}

#[test]
fn an_address_without_a_server_is_not() {
    for line in [
        "",
        "listening",
        "listening on port 0",
        "listening on port 65536",
        "listening on port 99999999999999999999",
        "listening on port -1",
        "listening on port 80a",
        "listening on port 5173: ssh_forward",
        "Server running at http://example.com:8080",
        "http://example.com:8080",
        "Local: http://192.168.1.5:5173/",
        "http://localhost.example.com:8080",
        "http://localhost:8080@example.com/",
        "http://user@localhost:8080/",
        "  ➜  Network: http://10.0.0.5:5173/",
        "Serving HTTP on 10.0.0.5 port 8000 (http://10.0.0.5:8000/) ...",
        "listening on IPv4 address \"10.0.0.5\", port 5432",
        "listening on Unix socket \"/run/postgresql/.s.PGSQL.5432\"",
        "* Connected to localhost (127.0.0.1) port 8080 (#0)",
        "*   Trying 127.0.0.1:8080...",
        "> Host: localhost:8080",
        "< Location: http://localhost:8080/login",
        "--2024-01-02 10:00:00--  http://localhost:8080/big.iso",
        "Connecting to localhost (localhost)|127.0.0.1|:8080... connected.",
        "curl: (7) Failed to connect to localhost port 8080: Connection refused",
        "dial tcp 127.0.0.1:8080: connect: connection refused",
        "LISTEN 0      511        127.0.0.1:8080      0.0.0.0:*",
        "tcp        0      0 0.0.0.0:5432     0.0.0.0:*     LISTEN      7/postgres",
        "node    7 ann   18u  IPv6 0x0      0t0  TCP *:3000 (LISTEN)",
        "0.0.0.0:8080->80/tcp",
        "Error: listen EADDRINUSE: address already in use :::3000",
        "Something is already running on port 3000.",
        "Port 3000 is in use, trying 3001 instead.",
        "Is the server running on http://localhost:3000?",
        "is the server running on port 5432?",
        "connection to server at \"localhost\" (127.0.0.1), port 5432 failed: refused",
        "Make sure the server is running on port 3000",
        "Check that a server is listening on port 3000",
        "The server listens on port 3000 by default",
        "For example, listening on port 3000",
        "Server stopped listening on port 3000",
        "Waiting until postgres is ready on port 5432",
        "Running 30s test @ http://127.0.0.1:8080/index.html",
        "Running tests on http://localhost:3000",
        "Running migrations on localhost:5432",
        "Killing the process running on port 3000",
        "waiting on http://localhost:3000",
        "Connecting to server at http://localhost:3000",
        "Sending it to the server at http://localhost:3000",
        "[HPM] Proxy created: /api  -> http://localhost:8080",
        "Accept connection from 127.0.0.1:41234",
        "Accepted publickey for ann from 127.0.0.1 port 41234 ssh2",
        "Connection from 127.0.0.1 port 41234 on 127.0.0.1 port 22",
        "DATABASE_URL=postgres://localhost:5432/shop",
        "export PORT=3000",
        "EXPOSE 3000",
        "transport 3000",
        "at serve (http://localhost:3000/main.js:10:5)",
        "Visit http://localhost:3000 for the manual",
        "Access to fetch at 'http://localhost:8080/a' from origin 'null' has been blocked",
        "listening on 12 sockets",
        "listening on 0.0.0.0:8080:80",
        "2024-01-02 10:00:00 started",
    ] {
        assert_eq!(ports(line), [0; 0], "{line}");
    }
}

#[test]
fn a_list_of_ports_is_a_manual() {
    let line = |port: u16| format!("listening on port {port}\n");
    assert_eq!(ports(&(1..=3).map(line).collect::<String>()), [1, 2, 3]);
    assert_eq!(ports(&(1..=4).map(line).collect::<String>()), [0; 0]);
    assert_eq!(ports(&line(7).repeat(9)), [7]);

    let both = listening_ports(["listening on :1\nlistening on :2", "listening on :3"]);
    assert_eq!(both.len(), 3);
    assert!(listening_ports(["on\nlistening on :1\n", &"x".repeat(600)]).len() == 1);
    assert_eq!(
        ports(&format!("{}listening on :1", " ".repeat(600))),
        [0; 0]
    );
}

#[test]
fn a_command_that_leaves_something_running_is_known() {
    for (command, is_left) in [
        ("npm run dev &", true),
        ("(npm run dev &); sleep 1", true),
        ("nohup ./serve >log 2>&1 & sleep 1; cat log", true),
        ("./serve &\ncat log", true),
        ("cat log", false),
        ("cd /srv && cat log", false),
        ("cat log 2>&1", false),
        ("make &> log", false),
        ("curl 'http://localhost/?a=1&b=2'", false),
        ("echo a \\& b", false),
    ] {
        assert_eq!(starts_background(command), is_left, "{command}");
    }
}
