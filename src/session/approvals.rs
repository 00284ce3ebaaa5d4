//! Questions that wait for the user's yes, and what the user has allowed.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex},
    time::SystemTime,
};

use sha2::{Digest as _, Sha256};
use tokio::sync::{Mutex as AsyncMutex, oneshot};

use crate::{
    lock::lock,
    ssh::{
        command::output::ReaderId,
        prompt::prompter::{Approval, ApprovalAnswer, Prompter},
    },
};

/// Number of answers that are remembered for a conversation.
const MAX_GIVEN: usize = 1_000;
/// Number of conversations whose answers are remembered. Nothing says when a client is gone.
const MAX_READERS: usize = 100;

/// Something that the user was asked about: the very same act on the very same host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ApprovalKey([u8; 32]);

impl ApprovalKey {
    /// Combines the parts that make an act and its host what they are.
    #[must_use]
    pub fn new(parts: &[&[u8]]) -> Self {
        let mut hash = Sha256::new();
        for part in parts {
            // With the length, no part can pass for the end of the one before.
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part);
        }

        Self(hash.finalize().into())
    }
}

/// Answers of the user to the questions of one call; `None` for a question without an answer. Clones
/// share them, so work that outlives its call has them too. Locked while the user is asked: a call
/// has one question at a time.
#[derive(Debug, Clone, Default)]
pub struct CallAnswers(pub(super) Arc<AsyncMutex<HashMap<ApprovalKey, Option<ApprovalAnswer>>>>);

/// Questions of a process that wait for the user, and the answers that hold for a conversation.
#[derive(Debug, Default)]
pub struct Approvals {
    /// Questions by their numbers. Locked for look-ups and changes only.
    waiting: Mutex<WaitingApprovals>,
    /// Acts that were allowed for a conversation, the last one at the end, by client. Locked for
    /// look-ups and changes only.
    given: Mutex<Vec<(ReaderId, Vec<ApprovalKey>)>>,
}

#[derive(Debug, Default)]
struct WaitingApprovals {
    last_number: u64,
    questions: BTreeMap<u64, WaitingApproval>,
}

#[derive(Debug)]
struct WaitingApproval {
    approval: Approval,
    since: SystemTime,
    answer: oneshot::Sender<ApprovalAnswer>,
}

/// Question that waits for the user, for the status page.
#[derive(Debug, Clone)]
pub struct OpenQuestion {
    /// Number of the question in this process.
    pub number: u64,
    /// The question.
    pub approval: Approval,
    /// Time at which the question was asked.
    pub since: SystemTime,
}

impl Approvals {
    /// Asks the user, at the client and on the status page. The first answer counts, and withdraws
    /// the question at the other place. `None` if nobody answers in time.
    pub(super) async fn ask(
        &self,
        prompter: &Prompter,
        approval: Approval,
    ) -> Option<ApprovalAnswer> {
        let (answer, on_page) = oneshot::channel();
        let number = self.enter(approval.clone(), answer);
        let _entered = Entered {
            approvals: self,
            number,
        };

        let on_page = async {
            match on_page.await {
                Ok(answer) => answer,
                Err(_) => std::future::pending().await,
            }
        };

        prompter.approve(approval, on_page).await
    }

    /// Answers a question on the status page. A question that was answered already, or is not asked
    /// any more, is left as it is.
    pub fn answer(&self, number: u64, answer: ApprovalAnswer) {
        let waiting = lock(&self.waiting).questions.remove(&number);
        if let Some(waiting) = waiting {
            let _ = waiting.answer.send(answer);
        }
    }

    /// Returns the questions that wait for the user, in the order in which they were asked.
    #[must_use]
    pub fn list(&self) -> Vec<OpenQuestion> {
        let waiting = lock(&self.waiting);
        let questions = waiting
            .questions
            .iter()
            .map(|(number, waiting)| OpenQuestion {
                number: *number,
                approval: waiting.approval.clone(),
                since: waiting.since,
            });

        questions.collect()
    }

    /// Remembers an act for the rest of a conversation. Clients that cannot be told apart have no
    /// conversation. Of too many acts, the first is forgotten.
    pub(super) fn remember(&self, reader: ReaderId, key: ApprovalKey) {
        if reader == ReaderId::SHARED {
            return;
        }

        let mut given = lock(&self.given);
        let at = given.iter().position(|(held, _)| *held == reader);
        let (_, mut keys) = at.map_or((reader, Vec::new()), |at| given.remove(at));

        keys.retain(|held| *held != key);
        keys.push(key);
        if keys.len() > MAX_GIVEN {
            keys.remove(0);
        }

        given.push((reader, keys));
        if given.len() > MAX_READERS {
            given.remove(0);
        }
    }

    /// Returns true if the user has allowed this act for the rest of this conversation.
    pub(super) fn is_remembered(&self, reader: ReaderId, key: ApprovalKey) -> bool {
        let given = lock(&self.given);
        given
            .iter()
            .any(|(held, keys)| *held == reader && keys.contains(&key))
    }

    /// Enters a question into the list, and returns its number.
    fn enter(&self, approval: Approval, answer: oneshot::Sender<ApprovalAnswer>) -> u64 {
        let mut waiting = lock(&self.waiting);
        waiting.last_number += 1;
        let number = waiting.last_number;
        let question = WaitingApproval {
            approval,
            since: SystemTime::now(),
            answer,
        };
        waiting.questions.insert(number, question);

        number
    }
}

/// Entry in the list of questions, which ends with this value.
struct Entered<'a> {
    approvals: &'a Approvals,
    number: u64,
}

impl Drop for Entered<'_> {
    fn drop(&mut self) {
        lock(&self.approvals.waiting).questions.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ssh::prompt::prompter::{ActDescription, PromptRequest};

    fn approval() -> Approval {
        Approval {
            act: ActDescription::new("run this command"),
            hosts: Vec::new(),
            may_last: true,
        }
    }

    #[test]
    fn a_key_depends_on_each_part_and_on_where_parts_end() {
        let keys = [
            ApprovalKey::new(&[b"a", b"b"]),
            ApprovalKey::new(&[b"ab"]),
            ApprovalKey::new(&[b"ab", b""]),
            ApprovalKey::new(&[b"a", b"c"]),
        ];
        for (index, key) in keys.iter().enumerate() {
            assert_eq!(keys.iter().position(|other| other == key), Some(index));
        }
    }

    #[test]
    fn a_conversation_remembers_its_own_answers_only() {
        let approvals = Approvals::default();
        let [mine, other] = [ReaderId::unique(), ReaderId::unique()];
        let key = |number: usize| ApprovalKey::new(&[&number.to_be_bytes()]);

        approvals.remember(mine, key(0));
        approvals.remember(ReaderId::SHARED, key(0));
        assert!(approvals.is_remembered(mine, key(0)));
        assert!(!approvals.is_remembered(other, key(0)));
        assert!(!approvals.is_remembered(ReaderId::SHARED, key(0)));
        assert!(!approvals.is_remembered(mine, key(1)));

        for number in 1..=MAX_GIVEN {
            approvals.remember(mine, key(number));
        }
        assert!(
            !approvals.is_remembered(mine, key(0)),
            "the first of too many"
        );
        assert!(approvals.is_remembered(mine, key(MAX_GIVEN)));
    }

    #[tokio::test]
    async fn the_first_answer_withdraws_the_question_elsewhere() {
        let (send, mut questions) = tokio::sync::mpsc::channel(1);
        let prompter = Prompter::new(Some(send), None);
        let approvals = Approvals::default();

        // On the page.
        let asking = approvals.ask(&prompter, approval());
        let answering = async {
            let Some(PromptRequest::Approve(_, mut by_client)) = questions.recv().await else {
                panic!("no question")
            };
            let [question] = approvals.list().try_into().unwrap();
            approvals.answer(question.number, ApprovalAnswer::Conversation);
            by_client.closed().await;
        };
        let (answer, ()) = tokio::join!(asking, answering);
        assert_eq!(answer, Some(ApprovalAnswer::Conversation));
        assert!(approvals.list().is_empty());

        // At the client.
        let asking = approvals.ask(&prompter, approval());
        let answering = async {
            let Some(PromptRequest::Approve(_, by_client)) = questions.recv().await else {
                panic!("no question")
            };
            by_client.send(ApprovalAnswer::No).unwrap();
        };
        let (answer, ()) = tokio::join!(asking, answering);
        assert_eq!(answer, Some(ApprovalAnswer::No));
        assert!(approvals.list().is_empty(), "withdrawn from the page");
        approvals.answer(2, ApprovalAnswer::Once);
    }
}
