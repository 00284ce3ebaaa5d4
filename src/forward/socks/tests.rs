use proptest::prelude::*;

use super::*;

/// Bytes for the client, and the end of the handshake.
type Outcome = (Vec<u8>, Option<Result<SocksRequest, SocksError>>);

fn shake(stream: &[u8], piece: usize) -> Outcome {
    let (mut handshake, mut sent) = (SocksHandshake::default(), Vec::new());
    for (at, portion) in stream.chunks(piece.max(1)).enumerate() {
        handshake.push(portion);
        loop {
            match handshake.next_event() {
                Ok(None) => break,
                Ok(Some(SocksEvent::Send(bytes))) => sent.extend(bytes),
                Ok(Some(SocksEvent::Connect(mut request))) => {
                    let taken = at * piece.max(1) + portion.len();
                    request.early.extend_from_slice(&stream[taken..]);
                    return (sent, Some(Ok(request)));
                }
                Err(error) => return (sent, Some(Err(error))),
            }
        }
        assert!(handshake.received.len() <= 600 + portion.len());
    }

    (sent, None)
}

fn request(version: SocksVersion, host: &str, port: u16, early: &[u8]) -> SocksRequest {
    SocksRequest {
        version,
        to: HostPort {
            host: host.to_owned(),
            port: NonZeroU16::new(port).unwrap(),
        },
        early: early.to_vec(),
    }
}

#[test]
fn each_kind_of_request_is_read_however_it_is_cut() {
    let six = [&b"\x05\x01\0\x05\x01\0\x04"[..], &[0; 15], b"\x01\x00\x50"].concat();
    let (four, five) = (SocksVersion::Four, SocksVersion::Five);
    for (stream, sent, wanted) in [
        (
            &b"\x04\x01\x15\x38\x0a\0\0\x07\0"[..],
            &b""[..],
            request(four, "10.0.0.7", 5432, b""),
        ),
        (
            b"\x04\x01\0\x50\0\0\0\x01user\0web.example\0GET",
            b"",
            request(four, "web.example", 80, b"GET"),
        ),
        (
            b"\x05\x01\0\x05\x01\0\x01\x7f\0\0\x01\x15\x38",
            b"\x05\0",
            request(five, "127.0.0.1", 5432, b""),
        ),
        (
            b"\x05\x02\x02\0\x05\x01\x09\x03\x03web\0\x50early",
            b"\x05\0",
            request(five, "web", 80, b"early"),
        ),
        (&six, b"\x05\0", request(five, "::1", 80, b"")),
    ] {
        for piece in 1..=stream.len() {
            assert_eq!(
                shake(stream, piece),
                (sent.to_vec(), Some(Ok(wanted.clone()))),
                "{piece}"
            );
        }

        for end in 0..stream.len() - wanted.early.len() {
            assert_eq!(shake(&stream[..end], 1).1, None, "{end}");
        }
    }
}

#[test]
fn everything_else_is_refused_with_a_reply() {
    let five = |reply| vec![5, reply, 0, 1, 0, 0, 0, 0, 0, 0];
    let rejected = vec![0, 91, 0, 0, 0, 0, 0, 0];
    let long_id = [&b"\x04\x01\0\x50\x7f\0\0\x01"[..], &[b'a'; 256]].concat();
    let long_name = [&b"\x04\x01\0\x50\0\0\0\x01\0"[..], &[b'a'; 256]].concat();
    for (stream, error, reply) in [
        (&b"GET / HTTP/1.1"[..], SocksError::NotSocks, vec![]),
        (b"\x16\x03\x01", SocksError::NotSocks, vec![]),
        (b"\x05\x01\0\x04\x01", SocksError::NotSocks, vec![]),
        (b"\x05\0", SocksError::Authentication, vec![5, 0xff]),
        (
            b"\x05\x02\x01\x02",
            SocksError::Authentication,
            vec![5, 0xff],
        ),
        (
            b"\x05\x01\0\x05\x02",
            SocksError::Command(SocksVersion::Five),
            five(7),
        ),
        (
            b"\x05\x01\0\x05\x03\0\x01",
            SocksError::Command(SocksVersion::Five),
            five(7),
        ),
        (
            b"\x05\x01\0\x05\x01\0\x02",
            SocksError::AddressType,
            five(8),
        ),
        (
            b"\x05\x01\0\x05\x01\0\x03\0\0\x50",
            SocksError::Address(SocksVersion::Five),
            five(1),
        ),
        (
            b"\x05\x01\0\x05\x01\0\x03\x01\xff\0\x50",
            SocksError::Address(SocksVersion::Five),
            five(1),
        ),
        (
            b"\x05\x01\0\x05\x01\0\x03\x03a\nb\0\x50",
            SocksError::Address(SocksVersion::Five),
            five(1),
        ),
        (
            b"\x05\x01\0\x05\x01\0\x01\x7f\0\0\x01\0\0",
            SocksError::Address(SocksVersion::Five),
            five(1),
        ),
        (
            b"\x04\x02",
            SocksError::Command(SocksVersion::Four),
            rejected.clone(),
        ),
        (
            b"\x04\x01\0\0\x7f\0\0\x01\0",
            SocksError::Address(SocksVersion::Four),
            rejected.clone(),
        ),
        (
            b"\x04\x01\0\x50\0\0\0\x01\0\0",
            SocksError::Address(SocksVersion::Four),
            rejected.clone(),
        ),
        (
            &long_id,
            SocksError::Address(SocksVersion::Four),
            rejected.clone(),
        ),
        (
            &long_name,
            SocksError::Address(SocksVersion::Four),
            rejected.clone(),
        ),
    ] {
        assert_eq!(shake(stream, 1).1, Some(Err(error)), "{stream:?}");
        assert_eq!(
            shake(stream, stream.len()).1,
            Some(Err(error)),
            "{stream:?}"
        );
        assert_eq!(error.reply(), reply, "{stream:?}");
    }
}

#[test]
fn each_outcome_has_a_reply_in_both_versions() {
    for (outcome, code, granted) in [
        (SocksOutcome::Connected, 0, 90),
        (SocksOutcome::Failed, 1, 91),
        (SocksOutcome::Forbidden, 2, 91),
        (SocksOutcome::Unreachable, 4, 91),
        (SocksOutcome::UnknownCommand, 7, 91),
        (SocksOutcome::UnknownAddressType, 8, 91),
    ] {
        assert_eq!(
            SocksVersion::Five.reply(outcome),
            [5, code, 0, 1, 0, 0, 0, 0, 0, 0]
        );
        assert_eq!(
            SocksVersion::Four.reply(outcome),
            [0, granted, 0, 0, 0, 0, 0, 0]
        );
    }
}

proptest! {
    #[test]
    fn the_cuts_of_the_bytes_change_nothing(
        start in prop_oneof![
            Just(b"\x04\x01".to_vec()),
            Just(b"\x05\x01\0\x05\x01\0\x03".to_vec()),
            Just(Vec::new()),
        ],
        rest in proptest::collection::vec(prop_oneof![Just(0u8), Just(b'a'), any::<u8>()], 0..700),
        piece in 1usize..40,
    ) {
        let stream = [start, rest].concat();
        prop_assert_eq!(shake(&stream, piece), shake(&stream, stream.len()));
    }
}
