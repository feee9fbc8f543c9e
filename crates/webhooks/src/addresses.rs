use std::{
    fmt, io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::Arc,
};

use futures::{FutureExt, future::BoxFuture};
use ipnet::IpNet;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use url::{Host, Url};

/// Finds the addresses of a name.
pub type Lookup = Arc<dyn Fn(String) -> BoxFuture<'static, io::Result<Vec<IpAddr>>> + Send + Sync>;

/// Why a host is not called.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the host has no address that webhooks may go to")]
pub struct NotAllowed;

/// Which addresses may be called: public ones, and those that the operator allows.
#[derive(Clone)]
pub struct Addresses {
    allowed: Arc<[IpNet]>,
    lookup: Lookup,
}

impl Addresses {
    /// Public addresses, and these networks.
    #[must_use]
    pub fn new(allowed: &[IpNet]) -> Self {
        Self::with_lookup(allowed, Arc::new(|name| lookup(name).boxed()))
    }

    /// The same with another way of finding addresses.
    #[must_use]
    pub fn with_lookup(allowed: &[IpNet], lookup: Lookup) -> Self {
        Self { allowed: allowed.into(), lookup }
    }

    /// Whether an address may be called.
    #[must_use]
    pub fn allows(&self, address: IpAddr) -> bool {
        let plain = unwrapped(address);
        is_public(plain) || self.allowed.iter().any(|network| network.contains(&plain) || network.contains(&address))
    }

    /// Checks a URL whose host is an address; names are checked when they are resolved.
    ///
    /// # Errors
    /// When the address may not be called, or there is no host.
    pub fn check(&self, url: &Url) -> Result<(), NotAllowed> {
        let allowed = match url.host() {
            Some(Host::Domain(_)) => true,
            Some(Host::Ipv4(address)) => self.allows(address.into()),
            Some(Host::Ipv6(address)) => self.allows(address.into()),
            None => false,
        };
        if allowed { Ok(()) } else { Err(NotAllowed) }
    }
}

impl Resolve for Addresses {
    fn resolve(&self, name: Name) -> Resolving {
        let this = self.clone();
        Box::pin(async move {
            let found = (this.lookup)(name.as_str().to_owned()).await?;
            let passed: Vec<SocketAddr> =
                found.into_iter().filter(|address| this.allows(*address)).map(|address| (address, 0).into()).collect();
            if passed.is_empty() {
                return Err(NotAllowed.into());
            }
            let passed: Addrs = Box::new(passed.into_iter());
            Ok(passed)
        })
    }
}

impl fmt::Debug for Addresses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Addresses").field("allowed", &self.allowed).finish_non_exhaustive()
    }
}

async fn lookup(name: String) -> io::Result<Vec<IpAddr>> {
    Ok(tokio::net::lookup_host((name, 0)).await?.map(|address| address.ip()).collect())
}

/// The IPv4 address that a connection to an IPv6 one reaches in the end, if it carries one: mapped ones, and those of the
/// well-known prefix of NAT64.
fn unwrapped(address: IpAddr) -> IpAddr {
    let IpAddr::V6(v6) = address else { return address };
    if let Some(v4) = v6.to_ipv4_mapped() {
        return v4.into();
    }
    match v6.segments() {
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] => {
            let ([a, b], [c, d]) = (high.to_be_bytes(), low.to_be_bytes());
            Ipv4Addr::new(a, b, c, d).into()
        }
        _ => address,
    }
}

/// Whether anybody on the internet could be there (the registries of special-purpose addresses, RFC 6890).
fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => is_public_v6(address),
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    let octets = address.octets();
    // This network, private use, loopback, link-local with its metadata servers, private use again.
    let special = matches!(octets, [0 | 10 | 127, ..] | [169, 254, ..] | [172, 16..=31, ..] | [192, 168, ..])
        // Carrier-grade NAT; some clouds keep their metadata there.
        || matches!(octets, [100, 64..=127, ..])
        // Protocol assignments, documentation, relays of 6to4, benchmarks.
        || matches!(octets, [192, 0, 0 | 2, _] | [198, 51, 100, _] | [203, 0, 113, _] | [192, 88, 99, _])
        || matches!(octets, [198, 18 | 19, ..])
        // Multicast, reserved, broadcast.
        || octets[0] >= 224;
    !special
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    match address.segments() {
        // Protocol assignments with Teredo, benchmarks and ORCHID; documentation; 6to4, which wraps any IPv4 address.
        [0x2001, 0..=0x1ff, ..] | [0x2001, 0xdb8, ..] | [0x2002, ..] | [0x3fff, 0..=0xfff, ..] => false,
        // Global unicast. Everything else is local, multicast, or nobody's yet.
        [first, ..] => first & 0xe000 == 0x2000,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use super::*;

    fn allows(allowed: &[&str], url: &str) -> bool {
        let allowed: Vec<IpNet> = allowed.iter().map(|network| network.parse().unwrap()).collect();
        Addresses::new(&allowed).check(&Url::parse(url).unwrap()).is_ok()
    }

    #[test]
    fn no_spelling_of_an_address_inside_passes() {
        for inside in [
            "http://127.0.0.1/",
            "http://127.1/",
            "http://2130706433/",
            "http://0x7f000001/",
            "http://0177.0.0.1/",
            "http://0/",
            "http://10.0.0.1/",
            "http://172.16.0.1/",
            "http://172.31.255.255/",
            "http://192.168.1.1/",
            "http://169.254.169.254/",
            "http://100.64.0.1/",
            "http://100.100.100.200/",
            "http://192.0.0.192/",
            "http://198.18.0.1/",
            "http://224.0.0.1/",
            "http://255.255.255.255/",
            "http://[::1]/",
            "http://[::]/",
            "http://[::ffff:127.0.0.1]/",
            "http://[::ffff:a9fe:a9fe]/",
            "http://[64:ff9b::10.0.0.1]/",
            "http://[64:ff9b:1::1]/",
            "http://[::127.0.0.1]/",
            "http://[fe80::1]/",
            "http://[fc00::1]/",
            "http://[fd00:ec2::254]/",
            "http://[2002:7f00:1::]/",
            "http://[2001::1]/",
            "http://[2001:db8::1]/",
            "http://[ff02::1]/",
        ] {
            assert!(!allows(&[], inside), "{inside}");
        }
    }

    #[test]
    fn public_addresses_pass() {
        for outside in [
            "http://8.8.8.8/",
            "http://172.32.0.1/",
            "http://100.128.0.1/",
            "http://192.0.1.1/",
            "http://[2606:4700::1111]/",
            "http://[64:ff9b::8.8.8.8]/",
            "http://[::ffff:8.8.8.8]/",
        ] {
            assert!(allows(&[], outside), "{outside}");
        }
    }

    #[test]
    fn the_operator_allows_networks_of_their_own() {
        assert!(allows(&["10.128.0.0/20"], "http://10.128.3.4:8080/"));
        assert!(allows(&["10.128.0.0/20"], "http://[::ffff:10.128.3.4]/"));
        assert!(!allows(&["10.128.0.0/20"], "http://10.0.0.1/"));
        assert!(allows(&["::1/128"], "http://[::1]/"));
    }

    #[tokio::test]
    async fn a_name_gives_only_the_addresses_that_pass() {
        let answers = std::sync::Mutex::new(VecDeque::from([
            vec!["10.0.0.1", "8.8.8.8", "::1"],
            vec!["169.254.169.254"],
            vec![],
        ]));
        let lookup: Lookup = Arc::new(move |_| {
            let next = answers.lock().unwrap().pop_front().unwrap();
            async move { Ok(next.into_iter().map(|address| address.parse().unwrap()).collect()) }.boxed()
        });
        let addresses = Addresses::with_lookup(&[], lookup);
        let resolve = || addresses.resolve("hook.example".parse().unwrap());
        let first: Vec<String> = resolve().await.unwrap().map(|address| address.ip().to_string()).collect();
        assert_eq!(first, ["8.8.8.8"]);
        for _ in 0..2 {
            assert!(resolve().await.err().unwrap().is::<NotAllowed>());
        }
    }
}
