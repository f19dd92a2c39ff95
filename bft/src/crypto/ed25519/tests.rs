//! RFC 8032's vectors, the corners of ZIP-215, and that batches answer as single checks do.

use std::iter::once;

use curve25519_dalek::constants::EIGHT_TORSION;
use ed25519_dalek::Signer as _;

use super::*;

fn signing_key(number: u8) -> SigningKey {
    SigningKey::from_bytes(&[number; 32])
}

fn public_key(key: &SigningKey) -> PublicKey {
    PublicKey::decode(key.verifying_key().to_bytes()).unwrap()
}

/// Checks all three ways and returns their common answer: one by one, in a batch of one message, in a batch in which
/// each has its own. Two honest signatures are in each batch, so that it is one.
fn all_agree(key: &PublicKey, message: &[u8], signature: &Signature) -> bool {
    let single = key.verify(message, signature);
    let honest = [1, 2].map(signing_key);
    let ring = KeyRing::new(once(*key).chain(honest.iter().map(public_key)).collect());
    let honest_signatures = honest.each_ref().map(|key| Signer::new(key).sign(message));
    let same_message =
        [(Index(1), honest_signatures[0]), (Index(0), *signature), (Index(2), honest_signatures[1])];
    assert_eq!(ring.verify_all(message, &same_message), single, "batch over one message");
    assert_eq!(ring.verify(Index(0), message, signature), single);

    let (other, keys) = (Signer::new(&honest[0]).sign(b"another"), honest.each_ref().map(public_key));
    let each_its_own = [
        Signed { key: &keys[0], message: b"another", signature: &other },
        Signed { key, message, signature },
        Signed { key: &keys[1], message, signature: &honest_signatures[1] },
    ];
    assert_eq!(verify_batch(&each_its_own), single, "batch over different messages");
    single
}

#[test]
fn vectors_of_rfc_8032() {
    // Section 7.1, TEST 1 to 3: secret key, public key, message, signature.
    for [secret, public, message, r, s] in [
        [
            "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
            "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
            "",
            "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e06522490155",
            "5fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b",
        ],
        [
            "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
            "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
            "r",
            "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da",
            "085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00",
        ],
        [
            "c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7",
            "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
            "\u{af}\u{82}",
            "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac",
            "18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a",
        ],
    ] {
        // The messages are bytes; each of these characters stands for the byte of its number.
        let message: Vec<u8> = message.chars().map(|c| c as u8).collect();
        let bytes = |text| hex::decode_32(text).unwrap();
        let signer = Signer::new(&SigningKey::from_bytes(&bytes(secret)));
        assert_eq!(signer.public_key(), bytes(public));
        let signature = signer.sign(&message);
        assert_eq!(signature, Signature { r: bytes(r), s: bytes(s) });
        assert!(all_agree(&PublicKey::decode(bytes(public)).unwrap(), &message, &signature));
    }
}

#[test]
fn signs_as_the_library_does() {
    for number in 0..20 {
        let key = signing_key(number);
        let message = vec![number; usize::from(number) * 7];
        assert_eq!(Signer::new(&key).sign(&message).to_bytes(), key.sign(&message).to_bytes());
    }
}

#[test]
fn every_bit_of_key_and_message_counts() {
    let key = signing_key(9);
    let message = *b"a message of some length";
    let signature = Signer::new(&key).sign(&message);
    assert!(all_agree(&public_key(&key), &message, &signature));
    for bit in 0..message.len() * 8 {
        let mut spoilt = message;
        spoilt[bit / 8] ^= 1 << (bit % 8);
        assert!(!all_agree(&public_key(&key), &spoilt, &signature));
    }
    for bit in 0..256 {
        let mut spoilt = public_key(&key).to_bytes();
        spoilt[bit / 8] ^= 1 << (bit % 8);
        if let Some(other) = PublicKey::decode(spoilt) {
            assert!(!all_agree(&other, &message, &signature));
        }
    }
}

/// s + `times` · L as 256-bit little-endian bytes, L being the order of the group.
fn plus_order(s: [u8; 32], times: u8) -> [u8; 32] {
    let mut order = (-Scalar::ONE).to_bytes();
    order[0] += 1;
    let mut carry = 0u16;
    std::array::from_fn(|i| {
        carry += u16::from(s[i]) + u16::from(order[i]) * u16::from(times);
        let byte = carry as u8;
        carry >>= 8;
        byte
    })
}

#[test]
fn s_must_be_canonical() {
    let key = signing_key(9);
    let signature = Signer::new(&key).sign(b"m");
    for times in 1..=15 {
        let other = Signature { s: plus_order(signature.s, times), ..signature };
        assert_ne!(other, signature);
        assert_eq!(Scalar::from_bytes_mod_order(other.s).to_bytes(), signature.s, "the same number mod L");
        assert!(!all_agree(&public_key(&key), b"m", &other), "s + {times} L");
    }
}

/// All encodings of the eight points of small order: the canonical ones and the six others that decode.
fn small_order_encodings() -> Vec<[u8; 32]> {
    let mut encodings: Vec<[u8; 32]> =
        EIGHT_TORSION.iter().map(|point| point.compress().to_bytes()).collect();
    let with = |first: u8, last: u8, middle: u8| {
        let mut bytes = [middle; 32];
        (bytes[0], bytes[31]) = (first, last);
        bytes
    };
    encodings.extend([
        with(0x01, 0x80, 0x00), // y = 1, x = −0
        with(0xEC, 0xFF, 0xFF), // y = −1, x = −0
        with(0xEE, 0x7F, 0xFF), // y = p + 1
        with(0xEE, 0xFF, 0xFF), // y = p + 1, x = −0
        with(0xED, 0x7F, 0xFF), // y = p
        with(0xED, 0xFF, 0xFF), // y = p, x negative
    ]);
    encodings
}

#[test]
fn small_order_keys_and_nonces_are_valid_in_every_encoding() {
    let encodings = small_order_encodings();
    assert_eq!(encodings.len(), 14);
    for key in &encodings {
        let key = PublicKey::decode(*key).expect("ZIP-215 accepts the encoding");
        assert!(key.is_weak());
        for r in &encodings {
            let signature = Signature { r: *r, s: [0; 32] };
            assert!(
                all_agree(&key, b"Zcash", &signature),
                "A {}, R {}",
                hex::encode(&key.bytes),
                hex::encode(r)
            );
            let not_zero = Signature { r: *r, s: Scalar::ONE.to_bytes() };
            assert!(!all_agree(&key, b"Zcash", &not_zero), "8B is not 0");
        }
    }
}

#[test]
fn keys_and_nonces_of_mixed_order_are_valid_if_the_cofactored_equation_holds() {
    let (a, r) = (Scalar::from(1_234_567u64), Scalar::from(7_654_321u64));
    let mut cofactor_mattered = 0;
    for key_torsion in EIGHT_TORSION {
        for nonce_torsion in EIGHT_TORSION {
            let key = (EdwardsPoint::mul_base(&a) + key_torsion).compress().to_bytes();
            let nonce = (EdwardsPoint::mul_base(&r) + nonce_torsion).compress().to_bytes();
            let k: [u8; 64] =
                Sha512::new().chain_update(nonce).chain_update(key).chain_update(b"m").finalize().into();
            let k = Scalar::from_bytes_mod_order_wide(&k);
            let key = PublicKey::decode(key).unwrap();
            let signature = Signature { r: nonce, s: (r + k * a).to_bytes() };
            assert!(all_agree(&key, b"m", &signature));
            let wrong = Signature { s: (r + k * a + Scalar::ONE).to_bytes(), ..signature };
            assert!(!all_agree(&key, b"m", &wrong));
            let without_cofactor = EdwardsPoint::mul_base(&(r + k * a)) + k * key.negated;
            if without_cofactor.compress().to_bytes() != nonce {
                cofactor_mattered += 1;
            }
        }
    }
    assert!(cofactor_mattered > 40, "only {cofactor_mattered} of 64 cases tell the two equations apart");
}

#[test]
fn points_off_the_curve_are_refused_and_large_y_are_reduced() {
    let key = signing_key(9);
    let signature = Signer::new(&key).sign(b"m");
    let mut off_the_curve = 0;
    // The 19 numbers from p to 2^255 − 1 encode y from 0 to 18 once more.
    for y in 0..19u8 {
        let mut canonical = [0; 32];
        canonical[0] = y;
        let mut large = [0xFF; 32];
        (large[0], large[31]) = (0xED + y, 0x7F);
        match (PublicKey::decode(canonical), PublicKey::decode(large)) {
            (Some(one), Some(other)) => assert_eq!(one.negated, other.negated),
            (None, None) => {
                off_the_curve += 1;
                assert!(!all_agree(&public_key(&key), b"m", &Signature { r: canonical, ..signature }));
                assert!(!all_agree(&public_key(&key), b"m", &Signature { r: large, ..signature }));
            }
            _ => panic!("y = {y} decodes in one way only"),
        }
    }
    assert!(off_the_curve > 0);
}

#[test]
fn batches_of_any_size_find_a_single_bad_signature() {
    let keys: Vec<SigningKey> = (0..12).map(signing_key).collect();
    let ring = KeyRing::new(keys.iter().map(public_key).collect());
    for size in 0..=keys.len() {
        // Signers in descending order from the last member, since order and gaps must not matter.
        let signatures: Vec<(Index, Signature)> = (0..size)
            .map(|i| keys.len() - 1 - i)
            .map(|i| (Index(i as u16), Signer::new(&keys[i]).sign(b"block")))
            .collect();
        assert!(ring.verify_all(b"block", &signatures), "{size} good ones");
        let all_of = |signatures: &[(Index, Signature)]| {
            let keys: Vec<PublicKey> = keys.iter().map(public_key).collect();
            let signed = signatures.iter().map(|(signer, signature)| Signed {
                key: &keys[usize::from(signer.0)],
                message: b"block",
                signature,
            });
            verify_batch(&signed.collect::<Vec<_>>())
        };
        assert!(all_of(&signatures));
        for bad in 0..size {
            let mut spoilt = signatures.clone();
            spoilt[bad].1 = Signer::new(&keys[11 - bad]).sign(b"clock");
            assert!(!ring.verify_all(b"block", &spoilt), "{bad} of {size} is bad");
            assert!(!all_of(&spoilt));
        }
    }
}

#[test]
fn errors_of_two_signatures_do_not_cancel_out() {
    let keys = [1, 2].map(signing_key);
    let ring = KeyRing::new(keys.iter().map(public_key).collect());
    let mut signatures = [0, 1].map(|i| (Index(i as u16), Signer::new(&keys[i]).sign(b"m")));
    // One s too large by 1, the other too small by 1: their plain sum is right.
    for ((_, signature), error) in signatures.iter_mut().zip([Scalar::ONE, -Scalar::ONE]) {
        signature.s = (Scalar::from_canonical_bytes(signature.s).unwrap() + error).to_bytes();
    }
    assert!(!ring.verify_all(b"m", &signatures));
}

#[test]
fn the_weights_of_a_batch_depend_on_all_of_it() {
    let keys = [1, 2, 3, 4, 5].map(signing_key);
    let equations = |messages: [&[u8]; 5]| -> Vec<Equation> {
        let signed = keys.iter().zip(messages);
        signed
            .map(|(key, message)| {
                Equation::of(&public_key(key), message, &Signer::new(key).sign(message)).unwrap()
            })
            .collect()
    };
    let one = weights(&equations([b"a"; 5]));
    let mut distinct = one.clone();
    distinct.sort_by_key(Scalar::to_bytes);
    distinct.dedup();
    assert_eq!(distinct.len(), 5);
    assert!(one.iter().all(|weight| weight.as_bytes()[16..] == [0; 16] && *weight != Scalar::ZERO));
    for i in 0..5 {
        let mut messages: [&[u8]; 5] = [b"a"; 5];
        messages[i] = b"b";
        let other = weights(&equations(messages));
        assert!(one.iter().zip(&other).all(|(one, other)| one != other), "message {i} moves all weights");
    }
}
