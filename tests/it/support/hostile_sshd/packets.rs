//! One connection: its packets (RFC 4253, section 6), its key exchange and the steps up to a command.

use std::{
    io::{self, Read as _, Write as _},
    net::{Shutdown, TcpStream},
    sync::Arc,
    thread,
};

use ring::{
    aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey},
    agreement::{EphemeralPrivateKey, UnparsedPublicKey, X25519, agree_ephemeral},
    error::Unspecified,
    rand::SystemRandom,
    signature::{Ed25519KeyPair, KeyPair as _},
};
use sha2::{Digest as _, Sha256};

/// The name with which it begins.
const VERSION: &str = "SSH-2.0-hostile";

/// How much of a flood is written at once, in bytes.
const BATCH: usize = 256 * 1024;

fn broken(_: Unspecified) -> io::Error {
    io::ErrorKind::InvalidData.into()
}

/// A message: its number and what follows.
pub(crate) fn message(number: u8, parts: &[&[u8]]) -> Vec<u8> {
    [&[number], parts.concat().as_slice()].concat()
}

/// A string as RFC 4251 writes it: its length, then its bytes.
pub(crate) fn string(bytes: &[u8]) -> Vec<u8> {
    [
        &u32::try_from(bytes.len()).expect("short").to_be_bytes(),
        bytes,
    ]
    .concat()
}

/// The same of text.
pub(crate) fn text(text: &str) -> Vec<u8> {
    string(text.as_bytes())
}

/// A number without sign as RFC 4251 writes an `mpint`.
fn mpint(bytes: &[u8]) -> Vec<u8> {
    let start = bytes
        .iter()
        .position(|byte| *byte != 0)
        .unwrap_or(bytes.len());

    let bytes = &bytes[start..];
    let sign: &[u8] = if bytes.first().is_some_and(|byte| byte & 0x80 != 0) {
        &[0]
    } else {
        &[]
    };

    string(&[sign, bytes].concat())
}

/// One direction of the cipher.
struct Direction {
    key: LessSafeKey,
    nonce: [u8; 12],
}

impl Direction {
    fn next(&mut self) -> Nonce {
        let nonce = Nonce::assume_unique_for_key(self.nonce);
        let counter =
            u64::from_be_bytes(self.nonce[4..].try_into().expect("8 bytes")).wrapping_add(1);
        self.nonce[4..].copy_from_slice(&counter.to_be_bytes());
        nonce
    }
}

/// The server's end of one connection.
pub(crate) struct Peer {
    stream: TcpStream,
    key: Arc<Ed25519KeyPair>,
    sends: Option<Direction>,
    receives: Option<Direction>,
    client_version: Vec<u8>,
    session: Vec<u8>,
}

impl Peer {
    pub(super) fn new(stream: TcpStream, key: Arc<Ed25519KeyPair>) -> Self {
        Self {
            stream,
            key,
            sends: None,
            receives: None,
            client_version: Vec::new(),
            session: Vec::new(),
        }
    }

    pub(super) fn close(&self) {
        let _ = self.stream.shutdown(Shutdown::Both);
    }

    /// Sends bytes as they are.
    pub(crate) fn raw(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes)
    }

    /// Sends bytes again and again until the client goes away.
    pub(crate) fn raw_without_end(&mut self, bytes: &[u8]) -> io::Result<()> {
        let batch = bytes.repeat(BATCH.div_ceil(bytes.len()));
        loop {
            self.stream.write_all(&batch)?;
        }
    }

    /// Sends one packet.
    pub(crate) fn send(&mut self, payload: &[u8]) -> io::Result<()> {
        let packet = self.packet(payload);
        self.stream.write_all(&packet)
    }

    /// Sends a message again and again until the client goes away.
    pub(crate) fn flood(&mut self, payload: &[u8]) -> io::Result<()> {
        self.flood_for(payload, usize::MAX)
    }

    /// The same, so many times.
    pub(crate) fn flood_for(&mut self, payload: &[u8], times: usize) -> io::Result<()> {
        let mut batch = Vec::new();
        for _ in 0..times {
            batch.extend(self.packet(payload));
            if batch.len() >= BATCH {
                self.stream.write_all(&batch)?;
                batch.clear();
            }
        }

        self.stream.write_all(&batch)
    }

    /// Says nothing more, and reads until the client goes away.
    pub(crate) fn be_silent(&mut self) -> io::Result<()> {
        io::copy(&mut self.stream, &mut io::sink())?;
        Ok(())
    }

    /// From now on what the client sends is read and thrown away, so that it can always send.
    pub(crate) fn discard(&mut self) {
        let mut stream = self.stream.try_clone().expect("a handle");
        thread::spawn(move || io::copy(&mut stream, &mut io::sink()));
    }

    fn packet(&mut self, payload: &[u8]) -> Vec<u8> {
        let (block, head) = if self.sends.is_some() {
            (16, 0)
        } else {
            (8, 4)
        };

        let unpadded = head + 1 + payload.len();
        let mut padding = block - unpadded % block;
        if padding < 4 {
            padding += block;
        }

        let length = u32::try_from(1 + payload.len() + padding)
            .expect("short")
            .to_be_bytes();
        let mut body = Vec::with_capacity(length.len() + payload.len() + 64);
        body.push(u8::try_from(padding).expect("short"));
        body.extend_from_slice(payload);
        body.resize(body.len() + padding, 0);

        if let Some(direction) = &mut self.sends {
            let nonce = direction.next();
            direction
                .key
                .seal_in_place_append_tag(nonce, Aad::from(length), &mut body)
                .expect("sealable");
        }

        [&length, body.as_slice()].concat()
    }

    /// The next message of the client.
    pub(crate) fn receive(&mut self) -> io::Result<Vec<u8>> {
        let mut length = [0; 4];
        self.stream.read_exact(&mut length)?;
        let tag = if self.receives.is_some() {
            AES_256_GCM.tag_len()
        } else {
            0
        };

        let mut body = vec![0; u32::from_be_bytes(length) as usize + tag];
        self.stream.read_exact(&mut body)?;

        if let Some(direction) = &mut self.receives {
            let nonce = direction.next();
            direction
                .key
                .open_in_place(nonce, Aad::from(length), &mut body)
                .map_err(broken)?;
        }

        Ok(body[1..body.len() - tag - usize::from(body[0])].to_vec())
    }

    /// The client's next message of this number; others are left out.
    pub(crate) fn wait_for(&mut self, number: u8) -> io::Result<Vec<u8>> {
        loop {
            let message = self.receive()?;
            if message.first() == Some(&number) {
                return Ok(message);
            }
        }
    }

    /// Both identification strings.
    pub(crate) fn identify(&mut self) -> io::Result<()> {
        self.raw(format!("{VERSION}\r\n").as_bytes())?;
        let mut byte = [0];
        while byte != *b"\n" {
            self.stream.read_exact(&mut byte)?;
            self.client_version.extend(byte);
        }

        self.client_version
            .truncate(self.client_version.trim_ascii_end().len());

        Ok(())
    }

    /// The lists of algorithms of this server.
    pub(crate) fn kexinit() -> Vec<u8> {
        let lists = ["curve25519-sha256", "ssh-ed25519"];

        let twice = [
            "aes256-gcm@openssh.com",
            "hmac-sha2-256",
            "none,zlib@openssh.com",
            "",
        ];

        let lists = lists
            .into_iter()
            .chain(twice.into_iter().flat_map(|name| [name, name]));

        message(
            20,
            &[
                &[7; 16],
                lists.flat_map(text).collect::<Vec<u8>>().as_slice(),
                &[0; 5],
            ],
        )
    }

    /// Sends this server's lists; returns them and the client's.
    pub(crate) fn begin_kex(&mut self) -> io::Result<[Vec<u8>; 2]> {
        let ours = Self::kexinit();
        self.send(&ours)?;
        let theirs = self.wait_for(20)?;
        Ok([ours, theirs])
    }

    /// The key exchange, as the first or as a further one.
    pub(crate) fn exchange_keys(&mut self) -> io::Result<()> {
        let lists = self.begin_kex()?;
        self.finish_kex(&lists, |reply| reply)
    }

    /// Its end, with what is done to the reply: host key, point and signature, each a string.
    pub(crate) fn finish_kex(
        &mut self,
        [ours, theirs]: &[Vec<u8>; 2],
        change: impl FnOnce([Vec<u8>; 3]) -> [Vec<u8>; 3],
    ) -> io::Result<()> {
        let init = self.wait_for(30)?;
        let client_point = &init[5..];
        let random = SystemRandom::new();
        let secret = EphemeralPrivateKey::generate(&X25519, &random).map_err(broken)?;
        let point = secret.compute_public_key().map_err(broken)?;
        let shared = agree_ephemeral(
            secret,
            &UnparsedPublicKey::new(&X25519, client_point),
            mpint,
        );

        let shared = shared.map_err(broken)?;
        let host_key = [text("ssh-ed25519"), string(self.key.public_key().as_ref())].concat();

        let strings = [
            &self.client_version,
            VERSION.as_bytes(),
            theirs,
            ours,
            &host_key,
            client_point,
            point.as_ref(),
        ];

        let hashed = [strings.map(string).concat(), shared.clone()].concat();
        let hash = Sha256::digest(hashed).to_vec();
        let signature = [text("ssh-ed25519"), string(self.key.sign(&hash).as_ref())].concat();
        let reply = change([
            string(&host_key),
            string(point.as_ref()),
            string(&signature),
        ]);

        self.send(&message(31, &[&reply.concat()]))?;
        self.send(&[21])?;
        self.wait_for(21)?;
        if self.session.is_empty() {
            self.session.clone_from(&hash);
        }

        let derive =
            |letter: u8| Sha256::digest([&shared, &hash, &[letter][..], &self.session].concat());
        let direction = |nonce: u8, key: u8| Direction {
            key: LessSafeKey::new(UnboundKey::new(&AES_256_GCM, &derive(key)).expect("32 bytes")),
            nonce: derive(nonce)[..12].try_into().expect("12 bytes"),
        };

        self.receives = Some(direction(b'A', b'C'));
        self.sends = Some(direction(b'B', b'D'));

        Ok(())
    }

    /// Everything up to the first message that is encrypted.
    pub(crate) fn handshake(&mut self) -> io::Result<()> {
        self.identify()?;
        self.exchange_keys()
    }

    /// The same up to the client's first wish to log in, which is not answered.
    pub(crate) fn up_to_login(&mut self) -> io::Result<()> {
        self.handshake()?;
        self.wait_for(5)?;
        self.send(&message(6, &[&text("ssh-userauth")]))?;
        self.wait_for(50)?;
        Ok(())
    }

    /// The same, and lets in whoever asks.
    pub(crate) fn let_in(&mut self) -> io::Result<()> {
        self.up_to_login()?;
        self.send(&[52])
    }

    /// Refuses every way to log in but these, until the client asks for one of them.
    pub(crate) fn insist_on(&mut self, methods: &str) -> io::Result<()> {
        self.up_to_login()?;

        loop {
            self.send(&message(51, &[&text(methods), &[0]]))?;
            let request = self.wait_for(50)?;
            if methods.split(',').any(|method| {
                request
                    .windows(method.len())
                    .any(|part| part == method.as_bytes())
            }) {
                return Ok(());
            }
        }
    }

    /// Lets in and grants channels and requests, until a command comes; returns the client's number of its channel. The
    /// server's own number of a channel is the same.
    pub(crate) fn up_to_command(&mut self) -> io::Result<u32> {
        self.let_in()?;
        self.next_command()
    }

    /// The same after the log-in.
    pub(crate) fn next_command(&mut self) -> io::Result<u32> {
        loop {
            let message = self.receive()?;
            match message[0] {
                90 => self.grant(&message)?,
                98 if message.windows(8).any(|part| part == b"\0\0\0\x04exec") => {
                    return Ok(u32::from_be_bytes(
                        message[1..5].try_into().expect("4 bytes"),
                    ));
                }
                _ => {}
            }
        }
    }

    /// Grants the channel for which this message asks.
    pub(crate) fn grant(&mut self, open: &[u8]) -> io::Result<()> {
        let kind = u32::from_be_bytes(open[1..5].try_into().expect("4 bytes")) as usize;
        let number = &open[5 + kind..9 + kind];
        self.send(&message(
            91,
            &[
                number,
                number,
                &(1_u32 << 21).to_be_bytes(),
                &32768_u32.to_be_bytes(),
            ],
        ))
    }
}
