//! Splits the bytes of an SFTP channel into packets.

use std::collections::VecDeque;

use bytes::{Buf as _, Bytes, BytesMut};

use super::{
    content::Content,
    reply::{DATA, Malformed, Packet, SftpReply},
};

/// Limit for the length of a packet, in bytes: twice the longest packet of OpenSSH.
const MAX_PACKET_BYTES: u32 = 512 * 1024;
/// Length in bytes below which pieces are gathered in a common buffer. Otherwise a server could
/// send single bytes and cost one allocation for each.
const GATHERED: usize = 1024;

/// Bytes received but not yet returned as a packet. The channel's reader pushes data and takes
/// packets until none is complete.
#[derive(Debug, Default)]
pub struct Frames {
    pieces: VecDeque<Bytes>,
    /// Short pieces, in order after `pieces`.
    gathered: BytesMut,
    /// Number of bytes held in total.
    held: usize,
    /// Length of the packet which has begun, or `None` before the length field is complete. The
    /// length field itself has been removed.
    length: Option<usize>,
}

impl Frames {
    /// Appends received data.
    pub fn push(&mut self, piece: Bytes) {
        self.held += piece.len();
        // The gathered bytes came earlier, so they move to the queue before a long piece does.
        if piece.len() < GATHERED {
            self.gathered.extend_from_slice(&piece);
        } else {
            self.flush();
            self.pieces.push_back(piece);
        }
    }

    /// Returns the next packet, or `None` until the whole packet has arrived. The caller repeats
    /// the call after each push until the result is `None`.
    ///
    /// # Errors
    /// Returns [`Malformed`] if the bytes are not SFTP. Nothing after such bytes can be read
    /// either.
    pub fn next_packet(&mut self) -> Result<Option<Packet>, Malformed> {
        let length = match self.length {
            Some(length) => length,
            None if self.held < 4 => return Ok(None),
            None => {
                // The length is checked before the packet is awaited: a hostile length must not
                // hold memory.
                let length = self.take_bytes(4).get_u32();
                if !(5..=MAX_PACKET_BYTES).contains(&length) {
                    return Err(Malformed("a packet has an impossible length"));
                }

                *self.length.insert(length as usize)
            }
        };

        if self.held < length {
            return Ok(None);
        }

        self.length = None;
        // Only file content is long enough to be worth keeping in pieces.
        let kind = self.take_bytes(1).get_u8();
        if kind != DATA {
            return Packet::read(kind, self.take_bytes(length - 1)).map(Some);
        }

        // The server states the length of the content twice. If the two differ, the bytes after the
        // content would be taken for the next packet.
        let head = 1 + 8;
        if length < head {
            return Err(Malformed("a field is cut off"));
        }

        let mut fields = self.take_bytes(8);
        let (id, content) = (fields.get_u32(), fields.get_u32());
        if content as usize != length - head {
            return Err(Malformed(
                "the length of the content differs from that of its packet",
            ));
        }

        let reply = SftpReply::Content(Content::new(self.take_pieces(length - head)));
        Ok(Some(Packet::Reply { id, reply }))
    }

    /// Moves the gathered bytes to the end of the queue.
    fn flush(&mut self) {
        if !self.gathered.is_empty() {
            self.pieces.push_back(self.gathered.split().freeze());
        }
    }

    /// Takes `length` bytes as a single piece. The bytes must have arrived.
    fn take_bytes(&mut self, length: usize) -> Bytes {
        let mut pieces = self.take_pieces(length);
        match (pieces.len(), pieces.pop()) {
            (1, Some(only)) => only,
            (_, last) => {
                pieces.extend(last);
                pieces.concat().into()
            }
        }
    }

    /// Takes `length` bytes without copying, in the pieces in which the bytes arrived.
    fn take_pieces(&mut self, length: usize) -> Vec<Bytes> {
        let (mut taken, mut missing) = (Vec::new(), length);
        while missing > 0 {
            // Gathered bytes are the last ones, so the queue has to be empty first.
            if self.pieces.is_empty() {
                self.flush();
            }

            // Callers ask only for bytes that have arrived; without any, the loop must end all the
            // same.
            let Some(first) = self.pieces.front_mut() else {
                break;
            };
            let part = first.split_to(missing.min(first.len()));
            if first.is_empty() {
                self.pieces.pop_front();
            }

            missing -= part.len();
            self.held -= part.len();
            taken.push(part);
        }

        taken
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::sftp::{attributes::Attributes, reply::Version, status::StatusCode};

    /// A packet with this type and body, as a server sends it.
    fn packet(kind: u8, body: &[u8]) -> Vec<u8> {
        let length = u32::try_from(body.len() + 1).unwrap();
        [&length.to_be_bytes(), &[kind][..], body].concat()
    }

    fn string(bytes: &[u8]) -> Vec<u8> {
        [&u32::try_from(bytes.len()).unwrap().to_be_bytes(), bytes].concat()
    }

    /// All packets in `bytes`, which arrive in pieces that end at `cuts`, and how it ends.
    fn read(bytes: &[u8], cuts: &[usize]) -> (Vec<String>, Result<(), Malformed>) {
        let mut cuts: Vec<usize> = cuts
            .iter()
            .map(|cut| cut % (bytes.len() + 1))
            .chain([0, bytes.len()])
            .collect();

        cuts.sort_unstable();
        let (mut frames, mut packets) = (Frames::default(), Vec::new());

        for piece in cuts.windows(2) {
            frames.push(Bytes::copy_from_slice(&bytes[piece[0]..piece[1]]));

            loop {
                match frames.next_packet() {
                    Ok(Some(packet)) => packets.push(shown(packet)),
                    Ok(None) => break,
                    Err(error) => return (packets, Err(error)),
                }
            }
        }

        (packets, Ok(()))
    }

    /// Content without its pieces, which depend on how it arrived.
    fn shown(packet: Packet) -> String {
        match packet {
            Packet::Reply {
                id,
                reply: SftpReply::Content(content),
            } => {
                let all: Vec<u8> = content.pieces().collect::<Vec<_>>().concat();
                assert_eq!(all.len(), content.len());
                format!("{id} {all:?}")
            }
            other => format!("{other:?}"),
        }
    }

    fn only(bytes: &[u8]) -> Result<Packet, Malformed> {
        let mut frames = Frames::default();
        frames.push(Bytes::copy_from_slice(bytes));
        Ok(frames.next_packet()?.expect("a whole packet"))
    }

    fn reply(kind: u8, fields: &[&[u8]]) -> Result<SftpReply, Malformed> {
        match only(&packet(
            kind,
            &[&[0, 0, 0, 9][..], &fields.concat()].concat(),
        ))? {
            Packet::Reply { id: 9, reply } => Ok(reply),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_first_packet_says_what_the_server_offers() {
        let body = [
            &[0, 0, 0, 3][..],
            &string(b"a@b"),
            &string(b"1"),
            &string(b"c@d"),
            &string(b"2"),
            &string(b"\xff"),
            &string(b""),
        ];

        let Ok(Packet::Version(version)) = only(&packet(2, &body.concat())) else {
            panic!()
        };

        assert_eq!(
            (version.number, version.offers("a@b"), version.offers("c@d")),
            (3, true, false)
        );

        let Ok(Packet::Version(Version { number: 3, .. })) = only(&packet(2, &[0, 0, 0, 3])) else {
            panic!()
        };
    }

    #[test]
    fn every_answer_has_its_meaning() {
        let Ok(SftpReply::Status(status)) = reply(
            101,
            &[&[0, 0, 0, 2], &string(b"No such file"), &string(b"")],
        ) else {
            panic!()
        };

        assert_eq!(
            (status.code, status.message.raw()),
            (StatusCode::NoSuchFile, "No such file")
        );

        let Ok(SftpReply::Status(status)) = reply(101, &[&[0, 0, 0, 4]]) else {
            panic!()
        };

        assert_eq!(
            (status.code, status.message.raw()),
            (StatusCode::Failure, "")
        );

        let Ok(SftpReply::Handle(handle)) = reply(102, &[&string(&[0, 0, 0, 0x80])]) else {
            panic!()
        };
        assert_eq!(handle.as_bytes(), [0, 0, 0, 0x80]);
        let Ok(SftpReply::Content(content)) = reply(103, &[&string(b"content")]) else {
            panic!()
        };
        assert_eq!(content.pieces().collect::<Vec<_>>().concat(), b"content");

        let attributes = [
            &[0x80, 0, 0, 5][..],
            &5_u64.to_be_bytes(),
            &[0, 0, 0x81, 0xa4],
        ]
        .concat();

        let extended = [&[0, 0, 0, 1][..], &string(b"what"), &string(b"ever")].concat();
        let expected = Attributes {
            size: Some(5),
            permissions: Some(0o100_644),
            ..Attributes::default()
        };

        let Ok(SftpReply::Names(names)) = reply(
            104,
            &[
                &[0, 0, 0, 1],
                &string(b"\xff/.."),
                &string(b"-rw"),
                &attributes,
                &extended,
            ],
        ) else {
            panic!()
        };

        assert_eq!(
            (&*names[0].name, names[0].attributes),
            (&b"\xff/.."[..], expected)
        );

        let Ok(SftpReply::Attributes(read)) = reply(105, &[&attributes, &extended]) else {
            panic!()
        };
        assert_eq!(read, expected);
        let Ok(SftpReply::Extended(bytes)) = reply(201, &[b"any"]) else {
            panic!()
        };
        assert_eq!(&*bytes, b"any");
    }

    #[test]
    fn what_cannot_be_a_packet_is_refused() {
        let with_id =
            |kind, fields: &[&[u8]]| packet(kind, &[&[0, 0, 0, 9][..], &fields.concat()].concat());

        for (what, bytes) in [
            ("text", b"Welcome to this host".to_vec()),
            ("no type", vec![0; 4]),
            (
                "one byte more than is accepted",
                [&(MAX_PACKET_BYTES + 1).to_be_bytes()[..], &[0]].concat(),
            ),
            ("an unknown type", with_id(99, &[])),
            ("no code", with_id(101, &[])),
            ("a handle that is cut", with_id(102, &[&[0, 0, 0, 9], b"x"])),
            (
                "a handle that is too long",
                with_id(102, &[&string(&[0; 257])]),
            ),
            ("content without a length", packet(103, &[0, 0, 0, 9])),
            (
                "less content than it says",
                with_id(103, &[&[0, 0, 0, 9], b"x"]),
            ),
            (
                "more content than it says",
                with_id(103, &[&[0, 0, 0, 0], b"x"]),
            ),
            (
                "fewer names than it says",
                with_id(104, &[&[0xff; 4], &string(b"a"), &string(b""), &[0; 4]]),
            ),
            (
                "fewer attributes than it says",
                with_id(105, &[&[0, 0, 0, 0xf], &[0; 20]]),
            ),
        ] {
            assert!(only(&bytes).is_err(), "{what}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused_however_they_arrive(
            bytes in prop::collection::vec(any::<u8>(), 0..3000),
            cuts in prop::collection::vec(any::<usize>(), 0..8),
        ) {
            prop_assert_eq!(read(&bytes, &cuts), read(&bytes, &[]));
        }

        #[test]
        fn any_body_of_any_type_is_read_or_refused_however_it_arrives(
            packets in prop::collection::vec(
                (prop::sample::select(vec![2_u8, 101, 102, 103, 104, 105, 201, 7]), prop::collection::vec(0_u8..4, 0..60)), 1..5),
            cuts in prop::collection::vec(any::<usize>(), 0..8),
        ) {
            let bytes: Vec<u8> = packets.iter().flat_map(|(kind, body)| packet(*kind, body)).collect();
            prop_assert_eq!(read(&bytes, &cuts), read(&bytes, &[]));
        }

        #[test]
        fn content_arrives_as_it_was_sent(
            contents in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..5000), 1..5),
            cuts in prop::collection::vec(any::<usize>(), 0..12),
        ) {
            let bytes: Vec<u8> = contents
                .iter()
                .flat_map(|content| packet(103, &[&[0, 0, 0, 7][..], &string(content)].concat()))
                .collect();
            let expected: Vec<String> = contents.iter().map(|content| format!("7 {content:?}")).collect();
            prop_assert_eq!(read(&bytes, &cuts), (expected, Ok(())));
        }
    }
}
