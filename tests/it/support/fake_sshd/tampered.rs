//! SFTP whose answers are changed on their way to the client, into whatever bytes a test wants: most of them no honest
//! server could be made to send.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};

/// What a request and its honest answer become on one channel: the bytes that are sent, none at all, or `None` to end
/// the channel.
pub(crate) type Fault = Box<dyn FnMut(&SftpPacket, Vec<u8>) -> Option<Vec<u8>> + Send>;

/// A request.
#[derive(Debug)]
pub(crate) struct SftpPacket {
    /// `SSH_FXP_…`
    pub(crate) kind: u8,
    /// Its id; of the first, the version.
    pub(crate) id: u32,
    /// What follows these.
    body: Vec<u8>,
}

impl SftpPacket {
    /// The string at the beginning: a path, a handle, or the name of an extension.
    pub(crate) fn string(&self) -> &[u8] {
        let length = self.number(0, 4);
        usize::try_from(length)
            .ok()
            .and_then(|length| self.body.get(4..)?.get(..length))
            .unwrap_or_default()
    }

    /// From which byte on is read or written.
    pub(crate) fn offset(&self) -> u64 {
        self.number(4 + self.string().len(), 8)
    }

    /// How many bytes are to be read.
    pub(crate) fn length(&self) -> u64 {
        self.number(12 + self.string().len(), 4)
    }

    fn number(&self, at: usize, bytes: usize) -> u64 {
        let field = self.body.get(at..at + bytes).unwrap_or_default();
        field
            .iter()
            .fold(0, |number, byte| number << 8 | u64::from(*byte))
    }
}

/// Passes requests on to the honest server, one after the other, until either side or the fault ends it.
pub(super) async fn pass(
    mut client: DuplexStream,
    mut honest: DuplexStream,
    mut fault: Fault,
) -> Option<()> {
    loop {
        let request = packet(&mut client).await?;
        honest.write_all(&request).await.ok()?;
        let answer = packet(&mut honest).await?;
        let (head, body) = request.split_at_checked(9)?;
        let asked = SftpPacket {
            kind: head[4],
            id: u32::from_be_bytes(*head.last_chunk()?),
            body: body.to_vec(),
        };

        client.write_all(&fault(&asked, answer)?).await.ok()?;
    }
}

/// One packet with its length; `None` at the end.
async fn packet(from: &mut DuplexStream) -> Option<Vec<u8>> {
    let length = from.read_u32().await.ok()?;
    let mut packet = length.to_be_bytes().to_vec();
    packet.resize(4 + length as usize, 0);
    from.read_exact(&mut packet[4..]).await.ok()?;
    Some(packet)
}
