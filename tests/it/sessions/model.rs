//! Sequences of calls that nobody thought of, against a model of a few lines: which sessions there are, in which state, which
//! of them is the default, which calls succeed, and what is in the store.

use std::collections::BTreeMap;

use proptest::{prelude::*, sample::select};
use serde_json::{Value, json};

use super::{Entry, entry, list};
use crate::support::{fake_sshd::FakeSshd, fixture::TestHost, mcp_client::McpClient};

const NAMES: [&str; 3] = ["a", "b", "c"];
/// Two names of the same server in the `ssh_config`.
const HOSTS: [&str; 2] = ["box", "other"];

#[derive(Debug, Clone)]
enum Step {
    Connect {
        name: &'static str,
        host: &'static str,
    },
    Call(Option<&'static str>),
    Reconnect(Option<&'static str>),
    Disconnect {
        session: Option<&'static str>,
        forget: bool,
    },
    SetDefault(&'static str),
    /// The server cuts all connections.
    Drop,
    /// Whether the server can be reached from now on.
    Reachable(bool),
    /// The process ends, and another one begins.
    Restart,
}

fn step() -> impl Strategy<Value = Step> {
    let session = || proptest::option::weighted(0.6, select(&NAMES[..]));
    prop_oneof![
        4 => (select(&NAMES[..]), select(&HOSTS[..])).prop_map(|(name, host)| Step::Connect { name, host }),
        4 => session().prop_map(Step::Call),
        2 => session().prop_map(Step::Reconnect),
        2 => (session(), any::<bool>()).prop_map(|(session, forget)| Step::Disconnect { session, forget }),
        1 => select(&NAMES[..]).prop_map(Step::SetDefault),
        2 => Just(Step::Drop),
        1 => any::<bool>().prop_map(Step::Reachable),
        2 => Just(Step::Restart),
    ]
}

/// Some steps, half of them in a process that finds two sessions in the store.
fn steps() -> impl Strategy<Value = Vec<Step>> {
    let before = [
        Step::Connect {
            name: "a",
            host: "box",
        },
        Step::Connect {
            name: "b",
            host: "other",
        },
        Step::Restart,
    ];

    (any::<bool>(), proptest::collection::vec(step(), 1..14)).prop_map(move |(saved, steps)| {
        if saved {
            [&before[..], &steps].concat()
        } else {
            steps
        }
    })
}

/// What is expected of the registry.
#[derive(Debug, Default)]
struct Model {
    unreachable: bool,
    /// Names and hosts, in the order in which they were first saved.
    saved: Vec<(&'static str, &'static str)>,
    saved_default: Option<&'static str>,
    chosen: Option<&'static str>,
    /// Those that have been connected in this process, in the order in which they first were.
    first: Vec<&'static str>,
    /// The same, and whether they are.
    connected: BTreeMap<&'static str, bool>,
}

impl Model {
    fn host(&self, name: &str) -> Option<&'static str> {
        self.saved
            .iter()
            .find(|(saved, _)| *saved == name)
            .map(|(_, host)| *host)
    }

    fn meant(&self) -> Option<&'static str> {
        let only = || {
            if let [(only, _)] = self.saved[..] {
                Some(only)
            } else {
                None
            }
        };

        self.chosen
            .or(self.first.first().copied())
            .or(self.saved_default)
            .or_else(only)
    }

    /// The session that is meant, if there is one.
    fn find(&self, session: Option<&'static str>) -> Option<&'static str> {
        session
            .or_else(|| self.meant())
            .filter(|name| self.host(name).is_some())
    }

    /// Connects it unless it is; says whether it is.
    fn connect(&mut self, name: &'static str) -> bool {
        if self.connected.get(name) == Some(&true) {
            return true;
        }

        if self.unreachable {
            return false;
        }

        self.connected.insert(name, true);
        if !self.first.contains(&name) {
            self.first.push(name);
        }

        true
    }

    /// Takes a step; says which session it works on, or that it fails.
    fn take(&mut self, step: &Step) -> Option<&'static str> {
        match *step {
            Step::Connect { name, host } => {
                let same = self.host(name) == Some(host);
                if !same && self.unreachable {
                    return None;
                }

                if !self.connect(name) {
                    return None;
                }

                match self.saved.iter_mut().find(|(saved, _)| *saved == name) {
                    Some(saved) => saved.1 = host,
                    None => self.saved.push((name, host)),
                }

                Some(name)
            }
            Step::Call(session) | Step::Reconnect(session) => {
                let name = self.find(session)?;
                self.connect(name).then_some(name)
            }
            Step::Disconnect { session, forget } => {
                let name = self.find(session)?;
                self.connected
                    .entry(name)
                    .and_modify(|connected| *connected = false);

                if forget {
                    self.connected.remove(name);
                    self.saved.retain(|(saved, _)| *saved != name);
                    self.first.retain(|first| *first != name);
                    self.chosen.take_if(|chosen| *chosen == name);
                    self.saved_default.take_if(|default| *default == name);
                }

                Some(name)
            }
            Step::SetDefault(name) => {
                let name = self.find(Some(name))?;
                (self.chosen, self.saved_default) = (Some(name), Some(name));
                Some(name)
            }
            Step::Drop => {
                self.connected
                    .values_mut()
                    .for_each(|connected| *connected = false);
                None
            }
            Step::Reachable(reachable) => {
                self.unreachable = !reachable;
                None
            }
            Step::Restart => {
                (self.chosen, self.first, self.connected) = (None, Vec::new(), BTreeMap::new());
                None
            }
        }
    }

    fn listing(&self) -> Vec<Entry> {
        let state = |name| match self.connected.get(name) {
            Some(true) => "connected",
            Some(false) => "disconnected",
            None => "saved",
        };

        let mut listing: Vec<_> = self
            .saved
            .iter()
            .map(|(name, _)| entry(name, state(name), self.meant() == Some(name)))
            .collect();

        listing.sort();

        listing
    }

    fn store(&self) -> Value {
        let session = |(name, host): &(&str, &str)| json!({"name": name, "host": host, "passwordAuth": false});
        let mut store =
            json!({"version": 1, "sessions": self.saved.iter().map(session).collect::<Vec<_>>()});
        if let Some(default) = self.saved_default {
            store["default"] = json!(default);
        }
        store
    }
}

/// Takes the step; says which session it worked on, or that it failed.
async fn take(
    step: &Step,
    number: usize,
    client: &mut McpClient,
    world: &TestHost<FakeSshd>,
) -> Option<String> {
    let named =
        |session: Option<&str>| session.map_or_else(|| json!({}), |name| json!({"session": name}));
    let mark = format!("step-{number}");

    let (tool, arguments) = match step {
        Step::Connect { name, host } => ("ssh_connect", json!({"host": host, "name": name})),
        Step::Call(session) => {
            let mut arguments = named(*session);
            arguments["command"] = json!(format!("echo {mark}"));
            ("ssh_exec", arguments)
        }
        Step::Reconnect(session) => ("ssh_reconnect", named(*session)),
        Step::Disconnect { session, forget } => {
            let mut arguments = named(*session);
            arguments["forget"] = json!(forget);
            ("ssh_disconnect", arguments)
        }
        Step::SetDefault(name) => ("ssh_set_default", json!({"session": name})),
        Step::Drop => {
            world.sshd.drop_connections();

            while list(client)
                .await
                .iter()
                .any(|(_, state, _)| state == "connected")
            {
                tokio::time::sleep(std::time::Duration::from_millis(2)).await;
            }

            return None;
        }
        Step::Reachable(reachable) => {
            world.sshd.refuse_connections(!reachable).await;
            return None;
        }
        Step::Restart => {
            let before = std::mem::replace(client, world.client().await);
            before.close().await;
            return None;
        }
    };

    let result = client.call(tool, arguments).await;

    if result.is_error() {
        assert_eq!(
            world.received(&mark),
            0,
            "what failed was not run: {}",
            result.text()
        );
        return None;
    }

    if let Step::Call(_) = step {
        assert_eq!(
            (result.stdout(), world.received(&mark)),
            (format!("{mark}\n"), 1),
            "{}",
            result.text()
        );
        return result.outcome()["session"].as_str().map(str::to_owned);
    }

    result.structured()["session"]["name"]
        .as_str()
        .map(str::to_owned)
}

/// How many sequences are tried; more where `PROPTEST_CASES` says so.
fn sequences() -> u32 {
    std::env::var("PROPTEST_CASES")
        .ok()
        .and_then(|cases| cases.parse().ok())
        .unwrap_or(12)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: sequences(), max_shrink_iters: 200, ..ProptestConfig::default() })]

    #[test]
    fn any_sequence_of_calls_leaves_the_sessions_that_the_model_has(steps in steps()) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        runtime.block_on(async {
            let world = TestHost::fake();
            let (mut client, mut model) = (world.client().await, Model::default());
            for (number, step) in steps.iter().enumerate() {
                let expected = model.take(step);
                let worked_on = take(step, number, &mut client, &world).await;
                assert_eq!(worked_on.as_deref(), expected, "step {number} of {steps:?}");
                assert_eq!(list(&mut client).await, model.listing(), "after step {number} of {steps:?}");
                let mut saved = world.folder().join("sessions.json").exists().then(|| world.store());
                // The model does not know what the program learns about servers.
                if let Some(Value::Object(store)) = &mut saved {
                    store.remove("servers");
                }
                assert_eq!(saved.unwrap_or_else(|| Model::default().store()), model.store(), "after step {number} of {steps:?}");
            }
            client.close().await;
        });
    }
}
