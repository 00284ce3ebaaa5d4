//! What an SFTP server sends: however its bytes are cut, the same packets come out, or the same refusal.
#![no_main]

#[allow(dead_code)]
#[path = "../../src/sftp/mod.rs"]
mod sftp;

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use sftp::{
    frames::Frames,
    reply::{Packet, Reply},
};

/// All packets of a stream and whether it is refused in the end. Content without its pieces, which depend on the cuts.
fn read(stream: &[u8], cuts: &[u8]) -> (Vec<String>, bool) {
    let (mut frames, mut packets) = (Frames::default(), Vec::new());
    let (mut rest, mut cuts) = (stream, cuts.iter().cycle());
    while !rest.is_empty() {
        // Also long ones: short pieces are gathered.
        let length = cuts.next().map_or(rest.len(), |cut| usize::from(*cut).pow(2) + 1).min(rest.len());
        let (portion, later) = rest.split_at(length);
        rest = later;
        frames.push(Bytes::copy_from_slice(portion));
        loop {
            match frames.next_packet() {
                Ok(Some(Packet::Reply { id, reply: Reply::Content(content) })) => {
                    let all = content.pieces().collect::<Vec<_>>().concat();
                    assert_eq!(all.len(), content.len());
                    packets.push(format!("{id} {all:?}"));
                }
                Ok(Some(packet)) => packets.push(format!("{packet:?}")),
                Ok(None) => break,
                Err(_) => return (packets, true),
            }
        }
    }
    (packets, false)
}

fuzz_target!(|data: &[u8]| {
    let Some((&count, data)) = data.split_first() else { return };
    let (cuts, data) = data.split_at(usize::from(count % 16).min(data.len()));
    assert_eq!(read(data, &[]), read(data, cuts));
    // The same as bodies of packets whose length is right, which no fuzzer would come by.
    let mut stream = Vec::new();
    for body in data.split(|byte| *byte == 0xfe).filter(|body| !body.is_empty()) {
        stream.extend(u32::try_from(body.len()).unwrap_or(u32::MAX).to_be_bytes());
        stream.extend(body);
    }
    assert_eq!(read(&stream, &[]), read(&stream, cuts));
});
