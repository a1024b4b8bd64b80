//! Who may ask whom over HTTP, and for what. A service refuses everybody else.
//!
//! `host::identity` enforces it for every service: a call that is not in [`CALLS`] is answered 403, so a new one is written
//! here first.

/// The operators' command line, which calls like a service.
pub const COMMAND_LINE: &str = "belay";

/// What one caller may ask of one service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Call {
    /// Who asks: the name that its key is known by.
    pub caller: &'static str,
    /// Who answers.
    pub service: &'static str,
    /// What for.
    pub routes: Routes,
}

/// Routes of a service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Routes {
    /// All of them, also those that come later.
    All,
    /// These: method and path, as the service's router has it.
    Only(&'static [(&'static str, &'static str)]),
}

/// Every call that is made. Its order means nothing.
pub const CALLS: &[Call] = &[
    all("bff", "purchase-manager"),
    all("bff", "product-admin"),
    all("bff", "consolidator"),
    all("bff", "orders"),
    all("bff", "payments"),
    all("bff", "notifications"),
    Call {
        caller: "notifications",
        service: "purchase-manager",
        routes: Routes::Only(&[("GET", "/purchases/ended")]),
    },
    // What only operators may do needs more than to know customers' addresses.
    Call {
        caller: "notifications",
        service: "bff",
        routes: Routes::Only(&[("POST", "/contacts")]),
    },
    all(COMMAND_LINE, "bff"),
    all(COMMAND_LINE, "purchase-manager"),
    all(COMMAND_LINE, "product-admin"),
    all(COMMAND_LINE, "consolidator"),
    all(COMMAND_LINE, "orders"),
    all(COMMAND_LINE, "payments"),
    all(COMMAND_LINE, "notifications"),
];

const fn all(caller: &'static str, service: &'static str) -> Call {
    Call {
        caller,
        service,
        routes: Routes::All,
    }
}

/// Everyone who asks, once each, in the order of their names.
pub fn callers() -> impl Iterator<Item = &'static str> {
    let names: std::collections::BTreeSet<_> = CALLS.iter().map(|call| call.caller).collect();
    names.into_iter()
}

/// Whether `caller` may ask `service` for this. `route` is none for a path that the service does not have.
#[must_use]
pub fn allowed(caller: &str, service: &str, method: &str, route: Option<&str>) -> bool {
    CALLS
        .iter()
        .filter(|call| call.caller == caller && call.service == service)
        .any(|call| match call.routes {
            Routes::All => true,
            Routes::Only(routes) => routes
                .iter()
                .any(|(verb, path)| *verb == method && Some(*path) == route),
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_caller_may_do_what_is_written_and_nothing_else() {
        assert!(allowed("bff", "orders", "GET", Some("/orders")));
        assert!(!allowed("orders", "payments", "GET", Some("/payments")));
        let ended = |method| {
            allowed(
                "notifications",
                "purchase-manager",
                method,
                Some("/purchases/ended"),
            )
        };
        assert!(ended("GET") && !ended("POST"));
        let cancel = Some("/purchases/{id}/cancel");
        assert!(!allowed("notifications", "purchase-manager", "POST", cancel));
        assert!(!allowed("notifications", "purchase-manager", "GET", None));
    }
}
