//! The page on which the person types secrets, as a browser meets it.

use std::net::TcpStream;

use serde_json::Value;

use super::{
    checks::eventually,
    mcp_client::McpClient,
    questions::next_question,
    wire::{Answer, DaemonAddress, ask, request},
};

/// A page that the client was told to open.
pub(crate) struct Page {
    pub(crate) address: DaemonAddress,
    pub(crate) path: String,
    /// Message that the client shows for the page.
    pub(crate) message: String,
    /// The question's name.
    pub(crate) id: String,
}

impl Page {
    /// What the parameters of a question say.
    pub(crate) fn from_params(params: &Value) -> Self {
        assert_eq!(params["mode"], "url", "{params}");

        let text = |name: &str| {
            params[name]
                .as_str()
                .unwrap_or_else(|| panic!("{name}: {params}"))
                .to_owned()
        };

        let url = text("url");
        let (port, word) = url
            .strip_prefix("http://127.0.0.1:")
            .unwrap()
            .split_once('/')
            .unwrap();

        assert!(
            word.len() == 32 && word.bytes().all(|byte| byte.is_ascii_hexdigit()),
            "{url}"
        );

        let (address, path) = (
            DaemonAddress::Tcp(port.parse().unwrap()),
            format!("/{word}"),
        );

        Self {
            address,
            path,
            message: text("message"),
            id: text("elicitationId"),
        }
    }

    /// The page of the next question, and the id to answer it by.
    pub(crate) async fn next(client: &mut McpClient) -> (Value, Self) {
        let (id, params) = next_question(client).await;
        (id, Self::from_params(&params))
    }

    /// A request as a browser makes it, with other headers where they are named.
    pub(crate) async fn send(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> Option<Answer> {
        let host = self.address.host();
        let origin = format!("http://{host}");
        let mut all = vec![("Host", host.as_str())];

        if method == "POST" {
            let form = "application/x-www-form-urlencoded";
            all.extend([
                ("Origin", origin.as_str()),
                ("Sec-Fetch-Site", "same-origin"),
                ("Content-Type", form),
            ]);
        }

        all.retain(|(name, _)| headers.iter().all(|(other, _)| other != name));
        all.extend(headers);

        ask(&self.address, request(method, path, &all, body)).await
    }

    /// The page as a person sees it.
    pub(crate) async fn get(&self) -> Answer {
        self.send("GET", &self.path, &[], "").await.unwrap()
    }

    /// The person types this and clicks.
    pub(crate) async fn post(&self, fields: &[(&str, &str)]) -> Answer {
        let body: String = form_urlencoded::Serializer::new(String::new())
            .extend_pairs(fields)
            .finish();
        self.send("POST", &self.path, &[], &body).await.unwrap()
    }

    /// The same where it is the only field, and right.
    pub(crate) async fn type_in(&self, secret: &str) {
        let answer = self.post(&[("answer0", secret)]).await;
        assert!(
            answer.status == 200 && answer.body.contains("Thank you"),
            "{answer:?}"
        );
    }

    /// Fails unless it has closed, or does so soon; until then it takes no answer.
    pub(crate) async fn assert_gone(&self) {
        let address = ("127.0.0.1", self.address.port());
        eventually("the page closes", || TcpStream::connect(address).is_err()).await;
    }
}
