//! Quoting for cmd.exe and PowerShell.

use std::fmt::Write as _;

/// Appends a text in which cmd.exe sees no special character, for a line of its own (`/c`) and not
/// for a batch file.
///
/// A caret takes the meaning from the next character. Nothing does so for `%` on such a line. But a
/// caret after it becomes part of the name of the variable, and there is no variable of that name.
pub(super) fn quote_for_cmd(line: &mut String, text: &str) {
    let mut after_percent = false;
    for letter in text.chars() {
        if after_percent || !(letter.is_alphanumeric() || r"\/.-_:".contains(letter)) {
            line.push('^');
        }
        line.push(letter);
        after_percent = letter == '%';
    }
}

/// Appends a text as a string of PowerShell.
///
/// It has no double quotes and no two blanks in a row: between the SSH server and PowerShell, a
/// command line may be split at blanks and joined again. PowerShell takes each of four more
/// characters for a single quote.
pub(super) fn quote_for_powershell(line: &mut String, text: &str) {
    let is_plain = |before: char, letter: char| {
        !(letter.is_control()
            || matches!(letter, '"' | '\'' | '\u{2018}'..='\u{201b}')
            || (letter == ' ' && before == ' '))
    };

    let mut before = '\0';
    line.push_str("('");
    for letter in text.chars() {
        if is_plain(before, letter) {
            line.push(letter);
        } else {
            let _ = write!(line, "'+[char]{}+'", u32::from(letter));
        }
        before = letter;
    }
    line.push_str("')");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cmd_sees_no_special_character() {
        for (text, quoted) in [
            ("plain", "plain"),
            (r"C:\Program Files (x86)\a", r"C:\Program^ Files^ ^(x86^)\a"),
            ("a&b|c<d>e", "a^&b^|c^<d^>e"),
            ("100%", "100^%"),
            ("%OS%", "^%^OS^%"),
            ("%OS:a=b%", "^%^OS:a^=b^%"),
            ("%%x", "^%^%^x"),
            ("^", "^^"),
            ("say \"hi\"", "say^ ^\"hi^\""),
            (" edge ", "^ edge^ "),
            ("größe!", "größe^!"),
            ("", ""),
        ] {
            let mut line = String::new();
            quote_for_cmd(&mut line, text);
            assert_eq!(line, quoted);
        }
    }

    #[test]
    fn powershell_gets_a_string() {
        for (text, quoted) in [
            ("plain", "('plain')"),
            ("$HOME `n", "('$HOME `n')"),
            ("it's", "('it'+[char]39+'s')"),
            ("it\u{2019}s", "('it'+[char]8217+'s')"),
            (r#"C:\a\"b""#, r"('C:\a\'+[char]34+'b'+[char]34+'')"),
            ("two  blanks", "('two '+[char]32+'blanks')"),
            ("a\nb", "('a'+[char]10+'b')"),
            ("", "('')"),
        ] {
            let mut line = String::new();
            quote_for_powershell(&mut line, text);
            assert_eq!(line, quoted);
        }
    }
}
