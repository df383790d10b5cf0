//! Tests hostile URLs: the guard accepts only public addresses.

use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, SystemTime};

use postrider_egress::{AddressGuard, retry_after};
use postrider_model::endpoint::UrlRule;
use postrider_model::limits::{RETRY_DELAY_MAX, URL_BYTES_MAX};
use proptest::prelude::*;
use url::Host;

const URLS: [&str; 14] = [
    "https://example.com/hooks/postrider?tenant=7&x=%20#part",
    "https://EXAMPLE.com:8443/hook",
    "https://bücher.example/",
    "https://8.8.8.8/",
    "https://[2606:4700:4700::1111]:8443/",
    "https://127.0.0.1/",
    "https://2130706433/",
    "https://0x7f.1:443/",
    "https://[::ffff:169.254.169.254]/",
    "https://[64:ff9b::10.0.0.1]/",
    "https://[2002:7f00:1::]/",
    "https://user:password@example.com/",
    "https://①②⑦.⓪.⓪.①/",
    "http://metadata.google.internal./latest",
];

const RETRY_AFTER: [&str; 5] =
    ["120", "Sun, 06 Nov 1994 08:49:37 GMT", "Sunday, 06-Nov-94 08:49:37 GMT", "Sun Nov  6 08:49:37 1994", "-1"];

/// Whether the standard library classifies the address as public, independently of the guard's table.
fn is_public(address: Ipv4Addr) -> bool {
    !(address.is_private()
        || address.is_loopback()
        || address.is_link_local()
        || address.is_broadcast()
        || address.is_documentation()
        || address.is_multicast()
        || address.is_unspecified())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4_000))]

    #[test]
    fn an_accepted_url_is_public_and_is_accepted_again_as_parsed(text in postrider_fuzz::text(URLS)) {
        let guard = AddressGuard::default();
        let url = match guard.check_url(&text, UrlRule::HttpsOnly) {
            Ok(url) => url,
            Err(refused) => {
                prop_assert!(refused.to_string().len() <= 200 + 4 * URL_BYTES_MAX, "{}", refused);
                return Ok(());
            }
        };
        prop_assert_eq!(url.scheme(), "https");
        prop_assert!(url.username().is_empty() && url.password().is_none());
        prop_assert!(url.as_str().len() <= URL_BYTES_MAX && url.as_str().is_ascii());
        prop_assert!(!url.as_str().contains(|c: char| c.is_control() || c.is_whitespace()));
        prop_assert!(matches!(url.port_or_known_default(), Some(80 | 443 | 1_024..)));
        match url.host() {
            Some(Host::Ipv4(address)) => prop_assert!(is_public(address)),
            Some(Host::Ipv6(address)) => {
                prop_assert!(address.to_ipv4_mapped().is_none_or(is_public));
                prop_assert!(!address.is_loopback() && !address.is_unspecified() && !address.is_multicast());
            }
            Some(Host::Domain(name)) => {
                prop_assert!(name.contains('.') && !name.ends_with('.') && name.parse::<IpAddr>().is_err());
                prop_assert!(!name.ends_with("localhost") && !name.ends_with(".local") && !name.ends_with(".internal"));
            }
            None => return Err(TestCaseError::fail("no host")),
        }
        // A saved URL is parsed again before each attempt.
        prop_assert_eq!(guard.check_url(url.as_str(), UrlRule::HttpsOnly), Ok(url));
    }

    #[test]
    fn an_address_is_public_in_every_form_or_refused_in_every_form(bits in any::<u32>()) {
        let (guard, address) = (AddressGuard::default(), Ipv4Addr::from_bits(bits));
        let passes = guard.check_address(IpAddr::V4(address)).is_ok();
        prop_assert!(!passes || is_public(address), "{}", address);
        let [a, b, c, d] = address.octets();
        // The hosts are unusual spellings of this address, and IPv6 addresses that contain it.
        for host in [
            format!("{bits}"),
            format!("{bits:#x}"),
            format!("0{bits:o}"),
            format!("{a}.{b}.{}", u32::from(c) << 8 | u32::from(d)),
            format!("{a:#x}.0{b:o}.{c}.{d:#x}"),
            format!("[::ffff:{address}]"),
            format!("[64:ff9b::{address}]"),
            format!("[2002:{:x}:{:x}::1]", bits >> 16, bits & 0xffff),
        ] {
            prop_assert_eq!(guard.check_url(&format!("https://{host}/"), UrlRule::HttpsOnly).is_ok(), passes, "{} is {}", host, address);
        }
    }

    #[test]
    fn a_retry_after_is_a_bounded_delay_or_none(
        value in postrider_fuzz::text(RETRY_AFTER),
        now in 0..253_402_300_800_u64,
        seconds in any::<u64>(),
    ) {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(now);
        prop_assert!(retry_after(&value, now).is_none_or(|wait| wait <= RETRY_DELAY_MAX), "{}", value);
        let wait = retry_after(&seconds.to_string(), now);
        prop_assert_eq!(wait, Some(Duration::from_secs(seconds).min(RETRY_DELAY_MAX)));
    }
}
