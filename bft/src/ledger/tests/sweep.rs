//! How fast forgotten records are freed: see `SWEPT_PER_BLOCK` in `ledger::execute`.

use super::*;

/// Transactions that spend coins that do not exist: each leaves a record for eight rounds past its expiry.
fn rejected_transactions(count: u32, expiry: u64) -> Vec<Vec<u8>> {
    (0..count).map(|number| transfer(&[(CoinId([9; 32]), 100)], expiry, &number.to_le_bytes())).collect()
}

#[test]
fn a_block_frees_1024_records_and_two_for_each_of_its_transactions() {
    let mut bench = Bench::new(0);
    bench.block(&rejected_transactions(6_000, 1));
    bench.skip_to(8);
    assert_eq!(bench.ledger.remembered(), 6_000);
    // All are due with round 9. More than 512 transactions in a block: twice their count is more than 1,024.
    bench.block(&rejected_transactions(700, 500));
    assert_eq!(bench.ledger.remembered(), 6_000 - (1_024 + 2 * 700) + 700);
    bench.block(&rejected_transactions(1, 501));
    assert_eq!(bench.ledger.remembered(), 4_276 - (1_024 + 2) + 1);
    bench.block::<&[u8]>(&[]);
    assert_eq!(bench.ledger.remembered(), 3_251 - 1_024);
}
