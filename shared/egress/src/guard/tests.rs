//! Tests addresses that the guard must refuse in every form of a URL, and URLs that it must accept.

use super::*;

/// URLs that no customer may save, with the default settings.
const HOSTILE_URLS: &[&str] = &[
    // Loopback, in every spelling that a URL parser accepts.
    "https://127.0.0.1/",
    "https://127.1/",
    "https://127.0.1/",
    "https://127.255.255.254/",
    "https://2130706433/",
    "https://017700000001/",
    "https://0x7f000001/",
    "https://0x7f.0.0.1/",
    "https://0177.0.0.1/",
    "https://0x7f.0x0.0x0.0x1/",
    "https://127.0.0.1./",
    "https://%31%32%37.0.0.1/",
    "https://①②⑦.⓪.⓪.①/",
    "https://127。0。0。1/",
    "https://localhost/",
    "https://LOCALHOST/",
    "https://localhost./",
    "https://foo.localhost/",
    "https://localhost.localdomain/",
    "https://ip6-localhost/",
    "https://[::1]/",
    "https://[0:0:0:0:0:0:0:1]/",
    "https://[::ffff:127.0.0.1]/",
    "https://[::ffff:7f00:1]/",
    "https://[::127.0.0.1]/",
    "https://[::ffff:0:127.0.0.1]/",
    "https://127.0.0.1:8443/",
    "https://0x7F.1/",
    "https://0x7f.1:443/",
    "https://0X7F000001/",
    "https://0177.1/",
    "https://00000177.0.0.1/",
    "https://127.0x0.0.01/",
    "https://127.00000.1/",
    "https://0x7f000001./",
    "https://2130706433./",
    "https://１２７.０.０.１/",
    "https://127．0．0．1/",
    "https://127｡0｡0｡1/",
    "https://%6c%6f%63%61%6c%68%6f%73%74/",
    "https://ｌｏｃａｌｈｏｓｔ/",
    "https://ⓛⓞⓒⓐⓛⓗⓞⓢⓣ/",
    "https://local\u{ad}host/",
    "https://localhost.localdomain./",
    "https://a.b.localhost./",
    "https://[0000::0001]/",
    "https://[::0.0.0.1]/",
    "https://[0:0:0:0:0:ffff:7f00:1]/",
    "https://[::ffff:127.255.0.1]:8443/",
    // Unspecified.
    "https://0.0.0.0/",
    "https://0/",
    "https://0.1.2.3/",
    "https://[::]/",
    "https://[::0.0.0.0]/",
    "https://0.0.0.0:8080/",
    "https://0x0/",
    "https://00/",
    "https://0.0/",
    "https://[0::0]/",
    "https://[::ffff:0.0.0.0]/",
    // Private.
    "https://10.0.0.1/",
    "https://10.255.255.255/",
    "https://012.0.0.1/",
    "https://172.16.0.1/",
    "https://172.31.255.255/",
    "https://192.168.0.1/",
    "https://0xc0a80001/",
    "https://192.168.257/",
    "https://[::ffff:10.0.0.1]/",
    "https://[fc00::1]/",
    "https://[fd00:ec2::254]/",
    "https://[fec0::1]/",
    "https://10.1/",
    "https://0xa000001/",
    "https://167772161/",
    "https://0xac100001/",
    "https://2886729729/",
    "https://3232235777/",
    "https://030052000401/",
    "https://[::ffff:192.168.1.1]/",
    "https://[::ffff:ac10:1]/",
    "https://[::10.0.0.1]/",
    "https://[fdff:ffff:ffff::1]/",
    // Link-local and metadata.
    "https://169.254.169.254/latest/meta-data/",
    "https://2852039166/",
    "https://0xa9fea9fe/",
    "https://0251.0376.0251.0376/",
    "https://169.254.170.2/",
    "https://metadata.google.internal/",
    "https://instance-data.ec2.internal/",
    "https://100.100.100.200/",
    "https://168.63.129.16/",
    "https://192.0.0.192/",
    "https://[fe80::1]/",
    "https://[febf::1]/",
    "https://[::ffff:169.254.169.254]/",
    "https://[::ffff:a9fe:a9fe]/",
    "https://169.254.1/",
    "https://0xa9.254.169.254/",
    "https://169.254.169.253/",
    "https://[::a9fe:a9fe]/",
    "https://[fe80::a9fe:a9fe]/",
    "https://[fe80::1%25eth0]/",
    "https://metadata.google.internal./",
    "https://METADATA.google.INTERNAL/",
    "https://metadata/",
    // Other special ranges.
    "https://100.64.0.1/",
    "https://100.127.255.255/",
    "https://192.0.2.1/",
    "https://192.88.99.1/",
    "https://198.18.0.1/",
    "https://198.19.255.255/",
    "https://198.51.100.7/",
    "https://203.0.113.9/",
    "https://224.0.0.1/",
    "https://239.255.255.255/",
    "https://240.0.0.1/",
    "https://255.255.255.255/",
    "https://[ff02::1]/",
    "https://[2001:db8::1]/",
    "https://[3fff::1]/",
    "https://[100::1]/",
    "https://[5f00::1]/",
    "https://[4000::1]/",
    "https://[2001:2::1]/",
    "https://[2001:20::1]/",
    "https://192.0.0.1/",
    "https://192.0.0.8/",
    "https://225.1.2.3/",
    "https://0xe0000001/",
    "https://4294967295/",
    "https://0xffffffff/",
    "https://1681915905/",
    "https://[ff01::1]/",
    "https://[ff0e::1]/",
    "https://[2001:10::1]/",
    "https://[0200::1]/",
    "https://[e000::1]/",
    "https://[::ffff:100.64.0.1]/",
    "https://[::ffff:224.0.0.1]/",
    "https://[::ffff:255.255.255.255]/",
    // IPv4 addresses in IPv6 addresses.
    "https://[64:ff9b::127.0.0.1]/",
    "https://[64:ff9b::a9fe:a9fe]/",
    "https://[64:ff9b::10.0.0.1]/",
    "https://[64:ff9b:1::8.8.8.8]/",
    "https://[64:ff9b:1:ffff::1]/",
    "https://[2002:7f00:1::]/",
    "https://[2002:a9fe:a9fe::1]/",
    "https://[2002:c0a8:101::1]/",
    "https://[64:ff9b::7f00:1]/",
    "https://[64:ff9b::192.168.1.1]/",
    "https://[64:ff9b::100.64.0.1]/",
    "https://[64:ff9b::0.0.0.0]/",
    "https://[64:ff9b::224.0.0.1]/",
    "https://[2002:a00:1::]/",
    "https://[2002:ac10:1::1]/",
    "https://[2002:6440:1::1]/",
    "https://[2002:e000:1::1]/",
    "https://[2002:0:0::1]/",
    // Teredo with a private server, and with a public server and the client 127.0.0.1 (its bits are inverted).
    "https://[2001:0:a00:1::1]/",
    "https://[2001:0:4136:e378:8000:63bf:80ff:fffe]/",
    // ISATAP.
    "https://[2a00:1450::5efe:10.0.0.1]/",
    "https://[2a00:1450::200:5efe:127.0.0.1]/",
    // Invalid forms.
    "ftp://example.com/",
    "file:///etc/passwd",
    "gopher://example.com/",
    "javascript:alert(1)",
    "data:text/plain,hi",
    "unix:/var/run/docker.sock",
    "https://",
    "https:///path",
    "//example.com/",
    "example.com",
    "",
    "https://user@example.com/",
    "https://user:password@example.com/",
    "https://:password@example.com/",
    "https://@example.com/",
    "https://example.com@127.0.0.1/",
    "https://127.0.0.1#@example.com/",
    "https://127.0.0.1?@example.com/",
    "https://example.com\\@127.0.0.1/",
    "https:\\\\127.0.0.1/",
    "https://exa\tmple.com/",
    "https://example.com/\r\nx-header: 1",
    "https://exam ple.com/",
    " https://example.com/",
    "https://example.com./",
    "https://example..com/",
    "https://.example.com/",
    "https://intranet/",
    "https://printer.local/",
    "https://router.home.arpa/",
    "https://256.256.256.256/",
    "https://1.2.3.4.5/",
    "https://exa$mple.com/",
    "https://*.example.com/",
    "https://example.com:0/",
    "https://example.com:22/",
    "https://example.com:25/",
    "https://example.com:1023/",
    "https://example.com:65536/",
    "https://example.com:x/",
    "https://example.com:-1/",
    "https://example.com:70000/",
    "https://example.com:443443/",
    "https://example.com:21/",
    "https://example.com:53/",
    "https://example.com:111/",
    "https://8.8.8.8:22/",
    "https://[2606:4700:4700::1111]:25/",
    "https://@@example.com/",
    "https://user%40example.com@8.8.8.8/",
    "https://example.com%2f@127.0.0.1/",
    "https://exa%00mple.com/",
    "https://exam%20ple.com/",
    "https://example.com%0d%0ahost:x/",
    "https://[::1/",
    "https://::1/",
    "https://[127.0.0.1]/",
    "https://xn--/",
    "https://xn--a.com/",
    "https://a\u{202e}b.com/",
    "https://1.2.3.08/",
    "https://0x.example.0x/",
    // Plain http, where only https is allowed.
    "http://example.com/",
];

const GOOD_URLS: &[&str] = &[
    "https://example.com/",
    "https://example.com/hooks/postrider?tenant=7&x=%20#part",
    "https://EXAMPLE.com:443/",
    "https://example.com:8443/hook",
    "https://example.com:1024/",
    "https://example.com:65535/",
    "https://hooks.eu-west-1.example.co.uk/a/b/c",
    "https://under_score.example.com/",
    "https://bücher.example/",
    "https://xn--bcher-kva.example/",
    "https://8.8.8.8/",
    "https://172.15.255.255/",
    "https://172.32.0.1/",
    "https://100.63.255.255/",
    "https://100.128.0.1/",
    "https://126.255.255.255/",
    "https://128.0.0.1/",
    "https://[2606:4700:4700::1111]/",
    "https://[2a00:1450:4001:82b::200e]:8443/",
    "https://[64:ff9b::8.8.8.8]/",
    "https://[2002:808:808::1]/",
    "https://notlocalhost.com/",
    "https://localhost.example.com/",
    "https://internal.example.com/",
];

#[test]
fn hostile_urls_are_refused() {
    let guard = AddressGuard::default();
    assert!(HOSTILE_URLS.len() >= 150, "{} URLs", HOSTILE_URLS.len());
    let different: std::collections::BTreeSet<_> = HOSTILE_URLS.iter().collect();
    assert_eq!(different.len(), HOSTILE_URLS.len());
    let passed: Vec<&str> =
        HOSTILE_URLS.iter().copied().filter(|url| guard.check_url(url, UrlRule::HttpsOnly).is_ok()).collect();
    assert!(passed.is_empty(), "accepted: {passed:?}");
}

#[test]
fn good_urls_pass() {
    let guard = AddressGuard::default();
    for url in GOOD_URLS {
        if let Err(refused) = guard.check_url(url, UrlRule::HttpsOnly) {
            panic!("{url}: {refused}");
        }
    }
}

#[track_caller]
fn refused(guard: &AddressGuard, url: &str, words: &str) {
    let message = guard.check_url(url, UrlRule::HttpsOnly).expect_err(url).to_string();
    assert!(message.contains(words), "{url}: {message:?} lacks {words:?}");
}

#[test]
fn a_refusal_says_what_is_wrong() {
    let guard = AddressGuard::default();
    refused(&guard, "http://example.com/", "only https");
    refused(&guard, "https://u:p@example.com/", "user name or password");
    refused(&guard, "https://0x7f.1/", "`127.0.0.1` cannot be used: a loopback address");
    refused(&guard, "https://169.254.169.254/", "metadata");
    refused(&guard, "https://[2001:db8::1]/", "documentation");
    refused(&guard, "https://example.com:22/", "port 22");
    refused(&guard, "ftp://example.com/", "`ftp`");
    refused(&guard, &format!("https://example.com/{}", "a".repeat(URL_BYTES_MAX)), "2048 bytes");
    refused(&guard, &format!("https://example.com/{}", "é".repeat(900)), "2048 bytes");
}

#[test]
fn http_is_accepted_if_allowed() {
    assert!(AddressGuard::default().check_url("http://example.com/", UrlRule::HttpAllowed).is_ok());
    assert!(
        AddressGuard { allow_http: true, ..AddressGuard::default() }
            .check_url("http://example.com/", UrlRule::HttpsOnly)
            .is_ok()
    );
    refused(&AddressGuard { allow_http: true, ..AddressGuard::default() }, "ftp://example.com/", "ftp");
}

#[test]
fn an_allow_list_opens_only_its_ranges() {
    let allow = ["127.0.0.0/8", "fd00:1::/32"].map(|range| range.parse().unwrap());
    let guard = AddressGuard { allow: allow.to_vec(), ..AddressGuard::default() };
    for url in [
        "https://127.0.0.1:9000/",
        "https://[::ffff:127.0.0.1]/",
        "https://[fd00:1::7]/",
        "https://localhost:9000/",
        "https://receiver:9000/",
        "https://svc.ns.svc.cluster.local/",
    ] {
        assert!(guard.check_url(url, UrlRule::HttpsOnly).is_ok(), "{url}");
    }
    for url in [
        "https://10.0.0.1/",
        "https://[::1]/",
        "https://[fd00:2::7]/",
        "https://169.254.169.254/",
        "https://127.0.0.1:22/",
    ] {
        assert!(guard.check_url(url, UrlRule::HttpsOnly).is_err(), "{url}");
    }
}

#[test]
fn addresses_at_the_edges_of_ranges() {
    let guard = AddressGuard::default();
    let passes = |address: &str| guard.check_address(address.parse().unwrap()).is_ok();
    for (inside, outside) in [
        ("0.255.255.255", "1.0.0.0"),
        ("10.0.0.0", "9.255.255.255"),
        ("10.255.255.255", "11.0.0.0"),
        ("100.64.0.0", "100.63.255.255"),
        ("127.0.0.0", "126.255.255.255"),
        ("169.254.0.0", "169.253.255.255"),
        ("172.31.255.255", "172.32.0.0"),
        ("192.168.255.255", "192.169.0.0"),
        ("198.18.0.0", "198.17.255.255"),
        ("198.19.255.255", "198.20.0.0"),
        ("224.0.0.0", "223.255.255.255"),
        ("fdff:ffff::1", "2a00::1"),
        ("2001:1ff:ffff::1", "2001:200::1"),
        ("1fff:ffff::1", "2001:4860:4860::8888"),
        ("64:ff9b::192.168.0.1", "64:ff9b::192.169.0.1"),
        ("2002:a00:1::1", "2002:b00:1::1"),
    ] {
        assert!(!passes(inside), "{inside} must not pass");
        assert!(passes(outside), "{outside} must pass");
    }
}
