//! Prompts that ask for a secret, recognised in the languages in which programs often ask.

/// Parts of words for a secret. None of them is a part of other common words.
const PARTS: [&str; 33] = [
    "password",
    "passphrase",
    "passcode",
    "verification code",
    "authentication code",
    "authenticator code",
    "security code",
    "one-time",
    "secret key",
    "api key",
    "access key",
    "passwort",
    "kennwort",
    "bestätigungscode",
    "sicherheitscode",
    "mot de passe",
    "phrase de passe",
    "phrase secrète",
    "code de vérification",
    "contraseña",
    "código de verifica",
    "senha",
    "parola d'ordine",
    "пароль",
    "пароля",
    "wachtwoord",
    "lösenord",
    "adgangskode",
    "salasana",
    "hasło",
    "密码",
    "密碼",
    "パスワード",
];
/// Whole words for a secret.
const WORDS: [&str; 13] = [
    "pin", "puk", "otp", "totp", "2fa", "mfa", "token", "secret", "parola", "heslo", "jelszó",
    "şifre", "passord",
];
/// Ends of a prompt that asks for a text, and not for a decision.
const ENDS: [char; 4] = [':', '：', '>', '='];

/// Returns true if a prompt looks like one for a password or another secret.
pub(super) fn asks_for_secret(prompt: &str) -> bool {
    let prompt = prompt.trim().to_lowercase();
    let mut words = prompt.split(|letter: char| !letter.is_alphanumeric());
    let names_secret =
        PARTS.iter().any(|part| prompt.contains(part)) || words.any(|word| WORDS.contains(&word));

    // "Change the password? [y/N]" asks for a decision.
    let asks_for_text = prompt.ends_with(ENDS) || prompt.ends_with(char::is_alphabetic);

    names_secret && asks_for_text && !is_about_user(&prompt)
}

/// Returns true if a prompt asks for the name of a user, whatever else it says.
fn is_about_user(prompt: &str) -> bool {
    ["username", "user name", "login"]
        .iter()
        .any(|name| prompt.starts_with(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prompts_for_a_secret_are_recognised() {
        for prompt in [
            "Password:",
            "[sudo] password for ann: ",
            "ann@host's password: ",
            "Password for 'https://ann@github.com': ",
            "Enter passphrase for key '/home/ann/.ssh/id_ed25519':",
            "Enter new passphrase (empty for no passphrase): ",
            "Enter PIN for ED25519-SK key /root/.ssh/id: ",
            "Verification code: ",
            "OTP:",
            "Token: ",
            "Vault token>",
            "Enter password",
            "Passwort für ann:",
            "Kennwort: ",
            "Mot de passe :",
            "Contraseña:",
            "[sudo] senha para ann:",
            "Пароль: ",
            "密码：",
            "パスワード:",
            "Heslo:",
            "Hasło: ",
        ] {
            assert!(asks_for_secret(prompt), "{prompt}");
        }
    }

    #[test]
    fn other_prompts_are_not() {
        for prompt in [
            "",
            "%",
            "$ ",
            ">>>",
            "Name?",
            "Username: ",
            "Username for 'https://token.example.org': ",
            "Change the password? [y/N]",
            "Reset all tokens (yes/no)?",
            "spinning:",
            "tokens left: 5%",
            "Are you sure you want to continue connecting (yes/no/[fingerprint])? ",
        ] {
            assert!(!asks_for_secret(prompt), "{prompt}");
        }
    }
}
