//! Encoding transactions: for clients, workloads and tests.

use wire::ids::{Digest, ShardId, Signature};

use super::{
    EXPIRY_BYTES, Expiry, HEADER_BYTES, INPUT_BYTES, Input, OUTPUT_BYTES, Output, SIGNATURE_BYTES,
    signing_message,
};

/// The fields of a transaction, borrowed so that a workload builds one without allocating. [`super::validate`] decides
/// whether it is valid; tests encode invalid ones with it too.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Transaction<'a> {
    /// The coins to spend; valid if they strictly ascend by shard and coin.
    pub inputs: &'a [Input],
    /// The shard where the coins are created.
    pub output_shard: ShardId,
    /// The coins to create.
    pub outputs: &'a [Output],
    /// One for each input shard, ascending.
    pub expiries: &'a [Expiry],
    /// Opaque bytes.
    pub payload: &'a [u8],
}

/// Length of an encoding with so many items of each kind, for callers that need a payload of a certain length.
pub const fn encoded_bytes(
    inputs: usize,
    outputs: usize,
    expiries: usize,
    signatures: usize,
    payload_bytes: usize,
) -> usize {
    HEADER_BYTES
        + inputs * INPUT_BYTES
        + outputs * OUTPUT_BYTES
        + expiries * EXPIRY_BYTES
        + payload_bytes
        + signatures * SIGNATURE_BYTES
}

impl Transaction<'_> {
    /// The encoding, without signatures.
    ///
    /// # Panics
    /// If there are more than 255 inputs, outputs or expiries: the encoding cannot express it.
    pub fn encode(&self) -> Vec<u8> {
        let mut buffer = Vec::new();
        self.encode_into(&mut buffer);
        buffer
    }

    /// Appends the encoding, without signatures.
    ///
    /// # Panics
    /// As [`Transaction::encode`].
    pub fn encode_into(&self, buffer: &mut Vec<u8>) {
        self.encode_unsigned(buffer, 0);
    }

    /// Appends the encoding with a signature for each input; `sign` makes it from the input and the message.
    ///
    /// # Panics
    /// As [`Transaction::encode`].
    pub fn encode_signed_into(
        &self,
        buffer: &mut Vec<u8>,
        testbed: &Digest,
        sign: impl Fn(&Input, &[u8]) -> Signature,
    ) {
        let start = buffer.len();
        self.encode_unsigned(buffer, self.inputs.len());
        let message = signing_message(testbed, &buffer[start..]);
        for input in self.inputs {
            buffer.extend(sign(input, &message).to_bytes());
        }
    }

    fn encode_unsigned(&self, buffer: &mut Vec<u8>, signatures: usize) {
        let count = |number: usize| u8::try_from(number).expect("at most 255 items of each kind");
        buffer.reserve(encoded_bytes(
            self.inputs.len(),
            self.outputs.len(),
            self.expiries.len(),
            signatures,
            self.payload.len(),
        ));
        buffer.extend([
            count(self.inputs.len()),
            count(self.outputs.len()),
            count(self.expiries.len()),
            count(signatures),
        ]);
        buffer.extend(self.output_shard.0.to_le_bytes());
        buffer.extend(u32::try_from(self.payload.len()).expect("payloads are below 4 GiB").to_le_bytes());
        for input in self.inputs {
            buffer.extend(input.shard.0.to_le_bytes());
            buffer.extend(input.coin.0);
            buffer.extend(input.amount.to_le_bytes());
        }
        for output in self.outputs {
            buffer.extend(output.owner.0);
            buffer.extend(output.amount.to_le_bytes());
        }
        for expiry in self.expiries {
            buffer.extend(expiry.shard.0.to_le_bytes());
            buffer.extend(expiry.round.0.to_le_bytes());
        }
        buffer.extend_from_slice(self.payload);
    }
}
