//! Addresses to which deliveries may not go: all ranges of the IANA special-purpose registries that are not listed as globally
//! reachable, and IPv6 addresses that contain such an address.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{Ipv4Net, Ipv6Net};

/// Refused IPv4 ranges (IANA IPv4 Special-Purpose Address Registry) with their descriptions.
const V4: &[([u8; 4], u8, &str)] = &[
    ([0, 0, 0, 0], 8, "an unspecified address"),
    ([10, 0, 0, 0], 8, "a private address"),
    ([100, 64, 0, 0], 10, "a carrier-grade NAT address"),
    ([127, 0, 0, 0], 8, "a loopback address"),
    ([168, 63, 129, 16], 32, "a cloud platform's internal address"),
    ([169, 254, 0, 0], 16, "a link-local or metadata address"),
    ([172, 16, 0, 0], 12, "a private address"),
    ([192, 0, 0, 0], 24, "a reserved address"),
    ([192, 0, 2, 0], 24, "a documentation address"),
    ([192, 88, 99, 0], 24, "a 6to4 relay address"),
    ([192, 168, 0, 0], 16, "a private address"),
    ([198, 18, 0, 0], 15, "a benchmarking address"),
    ([198, 51, 100, 0], 24, "a documentation address"),
    ([203, 0, 113, 0], 24, "a documentation address"),
    ([224, 0, 0, 0], 4, "a multicast address"),
    ([255, 255, 255, 255], 32, "the broadcast address"),
    ([240, 0, 0, 0], 4, "a reserved address"),
];

/// Refused IPv6 ranges with their descriptions. Other addresses outside of 2000::/3 are refused as reserved.
const V6: &[([u16; 8], u8, &str)] = &[
    ([0, 0, 0, 0, 0, 0, 0, 0], 128, "an unspecified address"),
    ([0, 0, 0, 0, 0, 0, 0, 1], 128, "a loopback address"),
    ([0x64, 0xff9b, 1, 0, 0, 0, 0, 0], 48, "a local NAT64 address"),
    ([0xfc00, 0, 0, 0, 0, 0, 0, 0], 7, "a unique local address"),
    ([0xfe80, 0, 0, 0, 0, 0, 0, 0], 10, "a link-local address"),
    ([0xfec0, 0, 0, 0, 0, 0, 0, 0], 10, "a site-local address"),
    ([0xff00, 0, 0, 0, 0, 0, 0, 0], 8, "a multicast address"),
    ([0x2001, 0xdb8, 0, 0, 0, 0, 0, 0], 32, "a documentation address"),
    ([0x3fff, 0, 0, 0, 0, 0, 0, 0], 20, "a documentation address"),
];

/// The only range of global unicast addresses (RFC 4291 section 2.4 and IANA).
const GLOBAL_UNICAST: ([u16; 8], u8) = ([0x2000, 0, 0, 0, 0, 0, 0, 0], 3);
/// IETF protocol assignments (RFC 2928). Except for Teredo addresses, they contain no web servers.
const PROTOCOL_ASSIGNMENTS: ([u16; 8], u8) = ([0x2001, 0, 0, 0, 0, 0, 0, 0], 23);

/// Returns why deliveries may not go to the address; `None` if they may.
pub(crate) fn refusal(address: IpAddr) -> Option<&'static str> {
    match address {
        IpAddr::V4(address) => refusal_v4(address),
        IpAddr::V6(address) => refusal_v6(address),
    }
}

fn refusal_v4(address: Ipv4Addr) -> Option<&'static str> {
    let within = |base: &[u8; 4], length: u8| {
        Ipv4Net::new(Ipv4Addr::from(*base), length).is_ok_and(|range| range.contains(&address))
    };
    V4.iter().find(|(base, length, _)| within(base, *length)).map(|(_, _, what)| *what)
}

fn refusal_v6(address: Ipv6Addr) -> Option<&'static str> {
    let within = |base: &[u16; 8], length: u8| {
        Ipv6Net::new(Ipv6Addr::from(*base), length).is_ok_and(|range| range.contains(&address))
    };
    if let Some((_, _, what)) = V6.iter().find(|(base, length, _)| within(base, *length)) {
        return Some(what);
    }
    let embedded = embedded(address);
    if let Some(what) = embedded.iter().flatten().find_map(|inner| refusal_v4(*inner)) {
        return Some(what);
    }
    let [first, second, ..] = address.segments();
    let is_teredo = first == 0x2001 && second == 0;
    let translated = embedded.iter().any(Option::is_some) && !is_isatap(address);
    if is_teredo || translated {
        return None;
    }
    if !within(&GLOBAL_UNICAST.0, GLOBAL_UNICAST.1) || within(&PROTOCOL_ASSIGNMENTS.0, PROTOCOL_ASSIGNMENTS.1) {
        return Some("a reserved address");
    }
    None
}

/// Returns the IPv4 addresses to which packets for this IPv6 address may be translated.
fn embedded(address: Ipv6Addr) -> [Option<Ipv4Addr>; 2] {
    let [a, b, c, d, e, f, g, h] = address.segments();
    let join = |high: u16, low: u16| Some(Ipv4Addr::from(u32::from(high) << 16 | u32::from(low)));
    match (a, b) {
        // ::a.b.c.d (RFC 4291 section 2.5.5.1) and ::ffff:a.b.c.d (2.5.5.2); ::ffff:0:a.b.c.d (RFC 2765).
        (0, 0)
            if (c, d, e, f) == (0, 0, 0, 0)
                || (c, d, e, f) == (0, 0, 0, 0xffff)
                || (c, d, e, f) == (0, 0, 0xffff, 0) =>
        {
            [join(g, h), None]
        }
        // NAT64, RFC 6052 section 2.1.
        (0x64, 0xff9b) if (c, d, e, f) == (0, 0, 0, 0) => [join(g, h), None],
        // 6to4, RFC 3056 section 2.
        (0x2002, _) => [join(b, c), None],
        // Teredo, RFC 4380 section 4: the server's address, and the client's address with every bit inverted.
        (0x2001, 0) => [join(c, d), join(!g, !h)],
        _ if is_isatap(address) => [join(g, h), None],
        _ => [None, None],
    }
}

/// Whether the address is an ISATAP address, whose interface identifier ends in an IPv4 address (RFC 5214 section 6.1).
fn is_isatap(address: Ipv6Addr) -> bool {
    let [_, _, _, _, e, f, _, _] = address.segments();
    matches!((e, f), (0x0000 | 0x0200, 0x5efe))
}

/// Returns the form of an address that is compared with the operator's allow-list: an IPv4-mapped IPv6 address becomes IPv4.
pub(crate) fn canonical(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V6(inner) => inner.to_ipv4_mapped().map_or(address, IpAddr::V4),
        IpAddr::V4(_) => address,
    }
}
