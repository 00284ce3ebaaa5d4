//! Task that executes requests of calls about a detached job.

use std::sync::Arc;

use tokio::sync::mpsc;

use crate::session::{
    caller::Caller,
    detached::{Demand, JobId, Request},
    error::SessionError,
    live::{Grant, LiveSession},
};

/// Executes each request in a separate task until every sender is gone.
pub(super) async fn answer(
    session: Arc<LiveSession>,
    id: JobId,
    mut requests: mpsc::Receiver<Request>,
) {
    while let Some(request) = requests.recv().await {
        tokio::spawn(answer_one(Arc::clone(&session), id.clone(), request));
    }
}

async fn answer_one(session: Arc<LiveSession>, id: JobId, request: Request) {
    let Request {
        demand,
        caller,
        mut answer,
    } = request;

    let done = tokio::select! {
        done = execute(&session, &id, demand, &caller) => done,
        // The call has ended, so nobody needs the answer.
        () = answer.closed() => return,
    };

    // Sending fails if the call has ended meanwhile, which is harmless.
    let _ = answer.send(done);
}

async fn execute(
    session: &LiveSession,
    id: &JobId,
    demand: Demand,
    caller: &Caller,
) -> Result<(), SessionError> {
    match demand {
        Demand::Connect => {
            let grant = Grant::upkeep(caller);
            session.host(&grant, caller).await.map(drop)
        }
        Demand::Feed(input) => session.feed_detached(id, &input, caller).await,
    }
}
