//! A TCP link between a client and a server on 127.0.0.1, which can be long, and can be broken in many ways.

use std::collections::VecDeque;
use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicBool, AtomicU16, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, mpsc, watch};
use tokio::task::JoinHandle;

/// Pieces on their way in one direction, at most; with 64 KiB each they are more than any test's delay needs.
const UNDERWAY: usize = 256;

/// A direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Direction {
    /// What the client sends.
    Up,
    /// What the server sends.
    Down,
}

/// How a connection breaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Break {
    /// Both ends see an orderly end (FIN).
    End,
    /// Both ends see a reset (RST), which may overtake what has arrived before it.
    Reset,
    /// Nothing passes any more, and nothing is closed.
    Stall,
    /// This direction ends (FIN), and the other one flows on.
    HalfEnd,
    /// What goes this way is lost from now on; the other direction flows on.
    Hole,
}

/// The next break: in the connection in which this many more bytes have passed this way. It happens once.
struct Trip {
    direction: Direction,
    left: u64,
    how: Break,
}

/// A relay. Dropping it cuts everything.
pub(crate) struct Link {
    port: u16,
    state: Arc<State>,
    accepting: JoinHandle<()>,
}

struct State {
    to: AtomicU16,
    delay: Duration,
    /// After how many bytes, both directions together, the next connections are cut.
    cuts: Mutex<VecDeque<u64>>,
    passed: AtomicU64,
    waiting: AtomicUsize,
    held: watch::Sender<bool>,
    /// After how many bytes nothing flows any more, both directions and all connections together.
    stall_at: watch::Sender<u64>,
    trip: Mutex<Option<Trip>>,
    /// Bytes that have passed up and down.
    counted: [AtomicU64; 2],
    /// Whether every byte is sent by itself.
    drips: AtomicBool,
    /// Whether the end of a direction is kept back.
    ends_held: watch::Sender<bool>,
}

impl Link {
    /// A link to `port` on which every byte takes `delay`. The first connections are cut after these numbers of bytes,
    /// those that follow never.
    pub(crate) async fn to(port: u16, delay: Duration, cuts: &[u64]) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
            .await
            .expect("a free port");

        let state = Arc::new(State {
            to: AtomicU16::new(port),
            delay,
            cuts: Mutex::new(cuts.iter().copied().collect()),
            passed: AtomicU64::new(0),
            waiting: AtomicUsize::new(0),
            held: watch::Sender::new(false),
            stall_at: watch::Sender::new(u64::MAX),
            trip: Mutex::new(None),
            counted: [AtomicU64::new(0), AtomicU64::new(0)],
            drips: AtomicBool::new(false),
            ends_held: watch::Sender::new(false),
        });

        let port = listener
            .local_addr()
            .expect("a bound listener has an address")
            .port();

        let accepting = tokio::spawn(accept(listener, Arc::clone(&state)));

        Self {
            port,
            state,
            accepting,
        }
    }

    /// Where a client connects to.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// The lines of `ssh_config` that lead to a server by this link. The server is known under its own port.
    pub(crate) fn options(&self, server_port: u16) -> String {
        format!("Port {}\nHostKeyAlias [127.0.0.1]:{server_port}", self.port)
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

    /// Breaks a connection, exactly after `bytes` more bytes have gone this way.
    pub(crate) fn break_after(&self, direction: Direction, bytes: u64, how: Break) {
        *self.state.trip.lock().expect("no panic") = Some(Trip {
            direction,
            left: bytes,
            how,
        });
    }

    /// Whether the break that was ordered has happened.
    pub(crate) fn has_broken(&self) -> bool {
        self.state.trip.lock().expect("no panic").is_none()
    }

    /// Takes the order back: what has not broken until now does not.
    pub(crate) fn keep_whole(&self) {
        *self.state.trip.lock().expect("no panic") = None;
    }

    /// How many bytes have passed this way.
    pub(crate) fn passed_so_far(&self, direction: Direction) -> u64 {
        self.state.counted[direction as usize].load(Ordering::SeqCst)
    }

    /// Has every byte sent by itself from now on.
    pub(crate) fn drip(&self) {
        self.state.drips.store(true, Ordering::SeqCst);
    }

    /// Keeps the ends of connections back (`true`), while data flows, or passes them on (`false`).
    pub(crate) fn hold_ends(&self, hold: bool) {
        self.state.ends_held.send_replace(hold);
    }

    /// Has new connections lead to another port.
    pub(crate) fn lead_to(&self, port: u16) {
        self.state.to.store(port, Ordering::SeqCst);
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
    let to = state.to.load(Ordering::SeqCst);
    let Ok(server) = TcpStream::connect((Ipv4Addr::LOCALHOST, to)).await else {
        return;
    };

    if !let_through || client.set_nodelay(true).is_err() || server.set_nodelay(true).is_err() {
        return;
    }

    let left = state
        .cuts
        .lock()
        .expect("no panic")
        .pop_front()
        .unwrap_or(u64::MAX);

    let (left, cut, broken) = (
        AtomicU64::new(left),
        Notify::new(),
        watch::Sender::new(None),
    );

    let ((from_client, to_client), (from_server, to_server)) =
        (client.into_split(), server.into_split());

    let mut up = Flow {
        direction: Direction::Up,
        to: to_server,
        state: &state,
        left: &left,
        cut: &cut,
        broken: &broken,
        hole: false,
    };

    let mut down = Flow {
        direction: Direction::Down,
        to: to_client,
        ..up
    };

    tokio::select! {
        _ = async { tokio::join!(up.pass(from_client), down.pass(from_server)) } => {}
        () = cut.notified() => {}
    }

    if *broken.borrow() == Some(Break::Reset) {
        for end in [up.to, down.to] {
            let _ = end.as_ref().set_zero_linger();
            // Dropping it would send a FIN first.
            end.forget();
        }
    }
}

struct Flow<'a> {
    direction: Direction,
    to: OwnedWriteHalf,
    state: &'a State,
    left: &'a AtomicU64,
    cut: &'a Notify,
    broken: &'a watch::Sender<Option<Break>>,
    hole: bool,
}

impl Flow<'_> {
    async fn pass(&mut self, mut from: OwnedReadHalf) {
        let (sender, mut pieces) = mpsc::channel::<(Instant, Vec<u8>)>(UNDERWAY);
        let delay = self.state.delay;

        let read = async move {
            let mut buffer = vec![0; 64 * 1024];
            while let Ok(length @ 1..) = from.read(&mut buffer).await {
                let arrives = Instant::now() + delay;
                if sender
                    .send((arrives, buffer[..length].to_vec()))
                    .await
                    .is_err()
                {
                    break;
                }
            }

            // The half that is read goes with the connection: dropping it would change nothing that an end sees.
            from
        };

        let write = async {
            let mut broken = self.broken.subscribe();

            loop {
                let piece = tokio::select! {
                    biased;
                    _ = broken.wait_for(Option::is_some) => break,
                    piece = pieces.recv() => piece,
                };

                let Some((arrives, piece)) = piece else { break };
                tokio::time::sleep_until(arrives.into()).await;
                if !self.write(&piece).await {
                    break;
                }
            }

            self.end().await;

            // What still comes goes nowhere.
            while pieces.recv().await.is_some() {}
        };

        tokio::join!(read, write);
    }

    /// `false` when nothing more is to be passed on.
    async fn write(&mut self, piece: &[u8]) -> bool {
        let length = piece.len() as u64;
        let before = self
            .left
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| {
                Some(left.saturating_sub(length))
            });

        if before.is_ok_and(|before| before <= length) {
            self.cut.notify_one();
            return false;
        }

        let passed = self.state.passed.fetch_add(length, Ordering::SeqCst);

        if self
            .state
            .stall_at
            .subscribe()
            .wait_for(|stall_at| passed < *stall_at)
            .await
            .is_err()
        {
            return false;
        }

        let (piece, breaks) = self.up_to_the_break(piece);
        self.state.counted[self.direction as usize].fetch_add(piece.len() as u64, Ordering::SeqCst);
        let mut size = piece.len().max(1);
        if self.state.drips.load(Ordering::SeqCst) {
            size = 1;
        }

        for part in piece.chunks(size) {
            if self.to.write_all(part).await.is_err() {
                return false;
            }
            if size == 1 {
                tokio::task::yield_now().await;
            }
        }

        match breaks {
            None => true,
            Some(Break::HalfEnd) => false,
            Some(Break::Hole) => {
                self.hole = true;
                false
            }
            Some(how) => {
                self.broken.send_replace(Some(how));
                false
            }
        }
    }

    fn up_to_the_break<'a>(&self, piece: &'a [u8]) -> (&'a [u8], Option<Break>) {
        let mut trip = self.state.trip.lock().expect("no panic");
        let Some(ordered) = trip
            .as_mut()
            .filter(|trip| trip.direction == self.direction)
        else {
            return (piece, None);
        };
        let length = piece.len() as u64;
        if ordered.left > length {
            ordered.left -= length;
            return (piece, None);
        }

        let (left, how) = (ordered.left, ordered.how);
        *trip = None;

        (
            &piece[..usize::try_from(left).expect("no longer than the piece")],
            Some(how),
        )
    }

    async fn end(&mut self) {
        if self.hole {
            return;
        }

        match *self.broken.borrow() {
            Some(Break::Reset) => return self.cut.notify_one(),
            Some(Break::Stall) => return,
            _ => {}
        }

        let _ = self
            .state
            .ends_held
            .subscribe()
            .wait_for(|held| !held)
            .await;

        let _ = self.to.shutdown().await;
    }
}
