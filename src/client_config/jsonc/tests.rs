use super::*;

/// Inserts `mcpServers.ssh`, removes it again, and returns the text in between.
fn inserted(text: &str) -> String {
    let value = Node::Object(vec![("command", Node::text("npx"))]);
    let with = insert(text, &["mcpServers"], "ssh", &value).unwrap();
    let document = JsonDocument::parse(&with).unwrap();
    let path = ["mcpServers", "ssh", "command"];
    let command = document.value(&path).unwrap().unwrap();
    assert_eq!(command.as_string_lit().unwrap().value, "npx", "{with}");
    with
}

/// Removes `mcpServers.ssh`.
fn removed(text: &str) -> String {
    let document = JsonDocument::parse(text).unwrap();
    let servers = document.object(&["mcpServers"]).unwrap().unwrap();
    let names = servers.properties.iter();
    let index = names
        .map(|one| one.name.as_str())
        .position(|name| name == "ssh")
        .unwrap();
    remove(text, &["mcpServers"], index).unwrap()
}

#[test]
fn a_member_is_added_in_the_style_of_the_file() {
    let rows = [
        (
            "no text",
            "",
            "{\n  \"mcpServers\": {\n    \"ssh\": {\n      \"command\": \"npx\"\n    }\n  }\n}\n",
        ),
        (
            "only a comment",
            "// mine",
            "// mine\n{\n  \"mcpServers\": {\n    \"ssh\": {\n      \"command\": \"npx\"\n    }\n  }\n}\n",
        ),
        (
            "an empty object",
            "{}\n",
            "{\n  \"mcpServers\": {\n    \"ssh\": {\n      \"command\": \"npx\"\n    }\n  }\n}\n",
        ),
        (
            "an empty object over two lines",
            "{\n}",
            "{\n  \"mcpServers\": {\n    \"ssh\": {\n      \"command\": \"npx\"\n    }\n  }\n}",
        ),
        (
            "tabs",
            "{\n\t\"a\": 1\n}\n",
            "{\n\t\"a\": 1,\n\t\"mcpServers\": {\n\t\t\"ssh\": {\n\t\t\t\"command\": \"npx\"\n\t\t}\n\t}\n}\n",
        ),
        (
            "another server, with CRLF",
            "{\r\n    \"mcpServers\": {\r\n        \"x\": {}\r\n    }\r\n}\r\n",
            "{\r\n    \"mcpServers\": {\r\n        \"x\": {},\r\n        \"ssh\": {\r\n            \"command\": \"npx\"\r\n        }\r\n    }\r\n}\r\n",
        ),
        (
            "a byte order mark",
            "\u{feff}{\n  \"mcpServers\": {}\n}",
            "\u{feff}{\n  \"mcpServers\": {\n    \"ssh\": {\n      \"command\": \"npx\"\n    }\n  }\n}",
        ),
        (
            "one line",
            "{\"mcpServers\": {\"x\": {}}}",
            "{\"mcpServers\": {\"x\": {}, \"ssh\": { \"command\": \"npx\" }}}",
        ),
        (
            "one line with a trailing comma",
            "{\"mcpServers\": {\"x\": {},}}",
            "{\"mcpServers\": {\"x\": {}, \"ssh\": { \"command\": \"npx\" },}}",
        ),
        (
            "a trailing comma and a comment after it",
            "{\n  \"mcpServers\": {\n    \"x\": {}, // the other\n    // end\n  },\n}\n",
            "{\n  \"mcpServers\": {\n    \"x\": {}, // the other\n    \"ssh\": {\n      \"command\": \"npx\"\n    },\n    // end\n  },\n}\n",
        ),
        (
            "a comment on the line of the last one",
            "{\n  \"mcpServers\": {\n    \"x\": {} // a, \"b\" }\n  }\n}\n",
            "{\n  \"mcpServers\": {\n    \"x\": {}, // a, \"b\" }\n    \"ssh\": {\n      \"command\": \"npx\"\n    }\n  }\n}\n",
        ),
        (
            "the bracket on the line of the last one",
            "{\n  \"mcpServers\": {\n    \"x\": {} }}",
            "{\n  \"mcpServers\": {\n    \"x\": {},\n    \"ssh\": {\n      \"command\": \"npx\"\n    } }}",
        ),
    ];

    for (row, before, expected) in rows {
        let with = inserted(before);
        assert_eq!(with, expected, "{row}");
    }
}

#[test]
fn removing_undoes_the_insertion() {
    let rows = [
        "{\"mcpServers\": {}}",
        "{\n  \"mcpServers\": {}\n}",
        "{\"mcpServers\": {\"x\": {}}}",
        "{\"mcpServers\": {\"x\": {},}}",
        "{\"mcpServers\": {\"x\": {} /* y */ }}",
        "\u{feff}{\r\n\t\"mcpServers\": {\r\n\t\t\"x\": {}\r\n\t}\r\n}",
        "{\n  \"mcpServers\": {\n    \"x\": {}, // the other\n    // end\n  },\n}\n",
        "{\n  \"mcpServers\": {\n    \"x\": {} // a, b }\n  }\n}\n",
        "{\n  \"mcpServers\": {\n    \"x\": {} }}",
        "{\n  \"mcpServers\": {\n    \"x\": {},\n\n    \"y\": {}\n  }\n}",
        "{\n  \"mcpServers\": { // none\n  }\n}",
        "{\n  \"mcpServers\": {\n    // none\n  }\n}",
    ];

    for before in rows {
        assert_eq!(removed(&inserted(before)), before, "{before}");
    }
}

#[test]
fn a_member_in_the_middle_goes_with_its_line() {
    let rows = [
        (
            "{\n  \"mcpServers\": {\n    \"ssh\": {}, // ours\n    \"x\": {}\n  }\n}",
            "{\n  \"mcpServers\": {\n    // ours\n    \"x\": {}\n  }\n}",
        ),
        (
            "{\n  \"mcpServers\": {\n    \"ssh\": {},\n    \"x\": {}\n  }\n}",
            "{\n  \"mcpServers\": {\n    \"x\": {}\n  }\n}",
        ),
        (
            "{\"mcpServers\": {\"ssh\": {}, \"x\": {}}}",
            "{\"mcpServers\": {\"x\": {}}}",
        ),
    ];

    for (before, expected) in rows {
        assert_eq!(removed(before), expected);
    }
}

#[test]
fn an_element_is_appended_and_removed() {
    let path = ["hooks", "PreToolUse"];
    let rows = [
        "{}",
        "{\n  \"hooks\": {\n    \"PreToolUse\": []\n  }\n}",
        "{\n  \"hooks\": {\n    \"PreToolUse\": [\n      1\n    ]\n  }\n}",
        "{\"hooks\": {\"PreToolUse\": [1]}}",
    ];

    for before in rows {
        let with = append(before, &path, &Node::text("ours")).unwrap();
        let document = JsonDocument::parse(&with).unwrap();
        let list = document.value(&path).unwrap().unwrap();
        assert_eq!(strings(list), ["ours"], "{with}");

        if before != "{}" {
            let index = list.as_array().unwrap().elements.len() - 1;
            assert_eq!(remove(&with, &path, index).unwrap(), before, "{with}");
        }
    }
}

#[test]
fn a_value_is_replaced_on_its_line() {
    let text = "{\n  \"a\": [\n    1\n  ], // x\n}";
    assert_eq!(
        replace(
            text,
            &["a"],
            &Node::texts(&["x".to_owned(), "y".to_owned()])
        )
        .unwrap(),
        "{\n  \"a\": [\"x\", \"y\"], // x\n}"
    );
}

#[test]
fn what_is_not_json_with_comments_is_refused() {
    let rows = [
        "{",
        "{\"a\" 1}",
        "[]",
        "{'a': 1}",
        "{a: 1}",
        "{\"mcpServers\": []}",
        "{\"mcpServers\": null}",
        "{\"mcpServers\": \"x\"}",
        "{} {}",
        "{\"a\": 1 \"b\": 2}",
    ];

    for text in rows {
        let result = insert(text, &["mcpServers"], "ssh", &Node::text("x"));
        assert!(result.is_err(), "{text} became {result:?}");
    }

    let error = insert("{\n\n  \"a\": ?\n}", &[], "ssh", &Node::text("x")).unwrap_err();
    assert!(
        error.to_string().starts_with("line 3 is not valid JSON: "),
        "{error}"
    );
}
