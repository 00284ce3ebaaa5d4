//! A TCP link between a client and a server on 127.0.0.1, which can be long, and can be cut.

use std::collections::VecDeque;
use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, mpsc, watch};
use tokio::task::JoinHandle;

/// Pieces on their way in one direction, at most; with 64 KiB each they are more than any test's delay needs.
const UNDERWAY: usize = 256;

/// A relay. Dropping it cuts everything.
pub(crate) struct Link {
    port: u16,
    state: Arc<State>,
    accepting: JoinHandle<()>,
}

struct State {
    to: u16,
    delay: Duration,
    /// After how many bytes, both directions together, the next connections are cut.
    cuts: Mutex<VecDeque<u64>>,
    passed: AtomicU64,
    waiting: AtomicUsize,
    held: watch::Sender<bool>,
    /// After how many bytes nothing flows any more, both directions and all connections together.
    stall_at: watch::Sender<u64>,
}

impl Link {
    /// A link to `port` on which every byte takes `delay`. The first connections are cut after these numbers of bytes,
    /// those that follow never.
    pub(crate) async fn to(port: u16, delay: Duration, cuts: &[u64]) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a free port");
        let state = Arc::new(State {
            to: port,
            delay,
            cuts: Mutex::new(cuts.iter().copied().collect()),
            passed: AtomicU64::new(0),
            waiting: AtomicUsize::new(0),
            held: watch::Sender::new(false),
            stall_at: watch::Sender::new(u64::MAX),
        });
        let port = listener.local_addr().expect("a bound listener has an address").port();
        let accepting = tokio::spawn(accept(listener, Arc::clone(&state)));
        Self { port, state, accepting }
    }

    /// Where a client connects to.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// How many bytes have passed, both directions together.
    pub(crate) fn passed(&self) -> u64 {
        self.state.passed.load(Ordering::SeqCst)
    }

    /// Has new connections wait (`true`), or lets them through (`false`).
    pub(crate) fn hold(&self, hold: bool) {
        self.state.held.send_replace(hold);
    }

    /// Lets no more flow when so many bytes have passed since its beginning.
    pub(crate) fn stall_at(&self, passed: u64) {
        self.state.stall_at.send_replace(passed);
    }

    /// Whether that is reached.
    pub(crate) fn is_stalled(&self) -> bool {
        self.passed() >= *self.state.stall_at.borrow()
    }

    /// How many connections wait.
    pub(crate) fn waiting(&self) -> usize {
        self.state.waiting.load(Ordering::SeqCst)
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn accept(listener: TcpListener, state: Arc<State>) {
    let mut connections = tokio::task::JoinSet::new();
    while let Ok((client, _)) = listener.accept().await {
        connections.spawn(serve(client, Arc::clone(&state)));
        while connections.try_join_next().is_some() {}
    }
}

async fn serve(client: TcpStream, state: Arc<State>) {
    state.waiting.fetch_add(1, Ordering::SeqCst);
    let let_through = state.held.subscribe().wait_for(|held| !held).await.is_ok();
    state.waiting.fetch_sub(1, Ordering::SeqCst);
    let Ok(server) = TcpStream::connect((Ipv4Addr::LOCALHOST, state.to)).await else { return };
    if !let_through || client.set_nodelay(true).is_err() || server.set_nodelay(true).is_err() {
        return;
    }
    let left = state.cuts.lock().expect("no panic").pop_front().unwrap_or(u64::MAX);
    let (left, cut) = (AtomicU64::new(left), Notify::new());
    let ((from_client, to_client), (from_server, to_server)) = (client.into_split(), server.into_split());
    let both = async {
        tokio::join!(
            pass(from_client, to_server, &state, &left, &cut),
            pass(from_server, to_client, &state, &left, &cut)
        )
    };
    tokio::select! {
        _ = both => {}
        () = cut.notified() => {}
    }
}

async fn pass(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, state: &State, left: &AtomicU64, cut: &Notify) {
    let (give, mut pieces) = mpsc::channel::<(Instant, Vec<u8>)>(UNDERWAY);
    let read = async move {
        let mut buffer = vec![0; 64 * 1024];
        while let Ok(length @ 1..) = from.read(&mut buffer).await {
            let arrives = Instant::now() + state.delay;
            if give.send((arrives, buffer[..length].to_vec())).await.is_err() {
                return;
            }
        }
    };
    let write = async move {
        while let Some((arrives, piece)) = pieces.recv().await {
            tokio::time::sleep_until(arrives.into()).await;
            let length = piece.len() as u64;
            let before =
                left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| Some(left.saturating_sub(length)));
            if before.is_ok_and(|before| before <= length) {
                cut.notify_one();
                return;
            }
            let passed = state.passed.fetch_add(length, Ordering::SeqCst);
            let flows = state.stall_at.subscribe().wait_for(|stall_at| passed < *stall_at).await.is_ok();
            if !flows {
                return;
            }
            if to.write_all(&piece).await.is_err() {
                return;
            }
        }
        let _ = to.shutdown().await;
    };
    tokio::join!(read, write);
}
