//! What a SOCKS client sends: however its bytes are cut, the same request comes out, or the same refusal. And an address
//! that an agent names is read again as it is shown.

use crate::forward::{
    address::{ConnectAddress, MAX_HOST_BYTES},
    listen::ListenAddress,
    socks::{SocksError, SocksEvent, SocksHandshake, SocksRequest},
};

/// What was sent to the client, and how the handshake ended. The bytes after a request without their pieces.
type Outcome = (Vec<u8>, Option<Result<SocksRequest, SocksError>>);

fn shake(stream: &[u8], cuts: &[u8]) -> Outcome {
    let (mut handshake, mut sent) = (SocksHandshake::default(), Vec::new());
    let (mut rest, mut cuts) = (stream, cuts.iter().cycle());
    while !rest.is_empty() {
        let length = cuts
            .next()
            .map_or(rest.len(), |cut| usize::from(*cut) + 1)
            .min(rest.len());
        let (portion, later) = rest.split_at(length);
        rest = later;
        handshake.push(portion);
        loop {
            match handshake.next_event() {
                Ok(None) => break,
                Ok(Some(SocksEvent::Send(bytes))) => sent.extend(bytes),
                Ok(Some(SocksEvent::Connect(mut request))) => {
                    request.early.extend_from_slice(rest);
                    return (sent, Some(Ok(request)));
                }
                Err(error) => {
                    sent.extend(error.reply());
                    return (sent, Some(Err(error)));
                }
            }
        }
    }
    (sent, None)
}

/// Tries one input.
pub fn run(data: &[u8]) {
    let Some((&count, data)) = data.split_first() else {
        return;
    };
    let (cuts, stream) = data.split_at(usize::from(count % 8).min(data.len()));
    let whole = shake(stream, &[]);
    assert_eq!(whole, shake(stream, cuts));
    assert_eq!(whole, shake(stream, &[0]));
    match whole.1 {
        Some(Ok(request)) => {
            assert!(!request.to.host.is_empty() && request.to.host.len() <= MAX_HOST_BYTES);
            assert!(stream.ends_with(&request.early));
        }
        Some(Err(_)) => {}
        None => assert!(stream.len() <= 1_200, "nothing waits for ever"),
    }
    assert!(whole.0.len() <= 12);

    let text = String::from_utf8_lossy(data);
    if let Ok(address) = ConnectAddress::parse(&text) {
        let shown = address.to_string();
        let again = ConnectAddress::parse(&shown).expect("it was shown");
        assert_eq!(again.to_string(), shown);
    }
    if let Ok(address) = ListenAddress::parse(&text) {
        let shown = address.to_string();
        let again = ListenAddress::parse(&shown).expect("it was shown");
        assert_eq!(again.to_string(), shown);
    }
}
