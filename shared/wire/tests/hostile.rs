//! Decoding arbitrary bytes fails, or its result is no larger than the bytes and is unchanged after encoding and decoding it
//! again.

use std::path::Path;

use bytes::Bytes;
use postrider_wire::bundle::{self, Member};
use postrider_wire::headers::HeaderList;
use postrider_wire::messages::{AcceptedEvent, Decision, DeliveryTask, Hint, NumbersReport, OutcomeReport, TestCall};
use proptest::prelude::*;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// The golden bundles of version 1.
fn bundles() -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/v1");
    let files = std::fs::read_dir(folder).expect("golden files").flatten();
    files.map(|file| std::fs::read(file.path()).expect("a bundle")).collect()
}

/// The heads of these bundles, and two more heads.
fn heads() -> Vec<Vec<u8>> {
    let of =
        |bundle: Vec<u8>| bundle::decode(&bundle).expect("a bundle").into_iter().map(|member| member.head.to_vec());
    let mut heads: Vec<Vec<u8>> = bundles().into_iter().flat_map(of).collect();
    heads.push(
        br#"{"instance":7,"settled_below":18446744073709551615,"given_up":[1,2],"reported_at":1800000000000}"#.into(),
    );
    heads.push(br#"{"breakers":[]}"#.into());
    heads
}

/// If the head can be read, checks that writing and reading it again does not change it.
fn stable<T: Serialize + DeserializeOwned>(head: &[u8]) -> Result<(), TestCaseError> {
    let member = Member { head: Bytes::copy_from_slice(head), payload: Bytes::new() };
    let Ok(read) = member.head::<T>() else { return Ok(()) };
    let written = Member::new(&read, Bytes::new()).expect("what was read can be written");
    let again =
        Member::new(&written.head::<T>().expect("what was written can be read"), Bytes::new()).expect("written");
    prop_assert_eq!(again, written);
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn bytes_that_decode_as_a_bundle_are_encoded_the_same(message in postrider_fuzz::bytes(bundles())) {
        let count = bundle::count(&message);
        prop_assert!(count <= 1 + message.len() / 8);
        let Ok(members) = bundle::decode(&message) else { return Ok(()) };
        prop_assert_eq!(count, members.len().max(1));
        let heads: usize = members.iter().map(|member| member.head.len()).sum();
        prop_assert!(heads <= message.len());
        prop_assert!(members.iter().all(|member| member.payload.len() <= message.len()));
        let written = bundle::encode(&members);
        // A shared payload is encoded once, so the encoding is never longer.
        prop_assert!(written.len() <= message.len());
        prop_assert_eq!(bundle::decode(&written).expect("what was written can be read"), members);
    }

    #[test]
    fn a_head_that_can_be_read_is_written_the_same(head in postrider_fuzz::bytes(heads())) {
        stable::<AcceptedEvent>(&head)?;
        stable::<DeliveryTask>(&head)?;
        stable::<Decision>(&head)?;
        stable::<OutcomeReport>(&head)?;
        stable::<TestCall>(&head)?;
        stable::<NumbersReport>(&head)?;
        stable::<Hint>(&head)?;
    }

    #[test]
    fn recorded_headers_are_pairs_or_empty(
        text in postrider_fuzz::bytes([&br#"[["webhook-id","evt_1"],["x-nul","\u0000"]]"#[..], b"[]", b"null"]),
    ) {
        let Ok(headers) = serde_json::from_slice::<HeaderList>(&text) else { return Ok(()) };
        let pairs = headers.pairs();
        prop_assert!(!headers.is_empty() || pairs.is_empty());
        prop_assert_eq!(HeaderList::from(pairs.as_slice()).pairs(), pairs);
    }
}

#[test]
fn a_bundle_of_empty_members_costs_no_more_than_its_bytes() {
    let message = [&b"PRB\x01"[..], &vec![0; 8 * 100_000]].concat();
    let members = bundle::decode(&message).expect("members without a head and a payload");
    assert_eq!((members.len(), bundle::count(&message)), (100_000, 100_000));
    assert!(members[0].head::<AcceptedEvent>().is_err());
    // The length of the head exceeds the message.
    let lengths = [&b"PRB\x01"[..], &u32::MAX.to_be_bytes(), &(u32::MAX - 1).to_be_bytes()].concat();
    assert!(bundle::decode(&lengths).is_err());
    assert_eq!(bundle::count(&lengths), 1);
}
