//! What customers read, as it is. Whoever changes a mail changes it here too, and reads it once more.

use contracts::money::Currency;
use notifications::{
    domain::{Notice, Outcome, Purchase},
    letter::{self, Letter},
};

use crate::world::{ended, line};

fn letter(state: &str, name: Option<&str>) -> Letter {
    let notice = Notice::of(ended(state, 0), None).unwrap().unwrap();
    letter::write(notice.outcome, &notice.purchase, name)
}

#[test]
fn a_completed_purchase() {
    let letter = letter("COMPLETED", Some("Alice"));
    assert_eq!(letter.subject, "Your purchase P-7F3K2QX is complete");
    assert_eq!(
        letter.text,
        "\
Hello Alice,

thank you for your purchase P-7F3K2QX. It is paid, and the goods are yours.

  3 x Rope 60 m  45.00 EUR
  1 x Tent \"Föhn\" <2 people> & pegs  199.99 EUR
  Total  244.99 EUR

The goods are ready to be fetched.

To ask about it, tell us its number: P-7F3K2QX
"
    );
}

#[test]
fn a_rejected_purchase_says_what_is_missing() {
    let letter = letter("REJECTED", None);
    assert_eq!(letter.subject, "Your purchase P-7F3K2QX could not be completed");
    assert_eq!(
        letter.text,
        "\
Hello,

your purchase P-7F3K2QX could not be completed.

There is not enough in stock. Rope 60 m: 3 requested, 1 available.

  3 x Rope 60 m  45.00 EUR
  1 x Tent \"Föhn\" <2 people> & pegs  199.99 EUR
  Total  244.99 EUR

Nothing is reserved for it any more, and you have not been charged.

To ask about it, tell us its number: P-7F3K2QX
"
    );
}

#[test]
fn a_cancelled_purchase() {
    let letter = letter("CANCELLED", Some("Alice"));
    assert_eq!(letter.subject, "Your purchase P-7F3K2QX is cancelled");
    assert!(
        letter
            .text
            .contains("Money that was held for it has been released."),
        "{}",
        letter.text
    );
}

#[test]
fn html_says_the_same_and_lets_nothing_through() {
    let letter = letter("REJECTED", Some("<script>alert('x')</script>"));
    assert_eq!(
        letter.html,
        "\
<!doctype html>
<html lang=\"en\">
<body style=\"font-family: sans-serif; line-height: 1.4\">
<p>Hello &lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt;,</p>
<p>your purchase P-7F3K2QX could not be completed.</p>
<p><strong>There is not enough in stock. Rope 60 m: 3 requested, 1 available.</strong></p>
<table cellpadding=\"4\">
<tr><td align=\"right\">3 ×</td><td>Rope 60 m</td><td align=\"right\">45.00 EUR</td></tr>
<tr><td align=\"right\">1 ×</td><td>Tent &quot;Föhn&quot; &lt;2 people&gt; &amp; pegs</td><td align=\"right\">199.99 EUR</td></tr>
<tr><td></td><td><strong>Total</strong></td><td align=\"right\"><strong>244.99 EUR</strong></td></tr>
</table>
<p>Nothing is reserved for it any more, and you have not been charged.</p>
<p>To ask about it, tell us its number: P-7F3K2QX</p>
</body>
</html>
"
    );
}

#[test]
fn amounts_have_the_digits_of_their_currency() {
    for (currency, unit, total) in [("JPY", "3000 JPY", "9000 JPY"), ("KWD", "3.000 KWD", "9.000 KWD")] {
        let currency: Currency = currency.parse().unwrap();
        let purchase = Purchase {
            reference: "P-1".to_owned(),
            lines: vec![line("A thing", 1, 3_000)],
            currency,
            total_minor: 9_000,
            home_delivery: true,
            failure: None,
        };
        let letter = letter::write(Outcome::Completed, &purchase, None);
        assert!(
            letter.text.contains(&format!("1 x A thing  {unit}\n")),
            "{}",
            letter.text
        );
        assert!(
            letter.text.contains(&format!("Total  {total}\n")),
            "{}",
            letter.text
        );
        assert!(letter.text.contains("We bring the goods"), "{}", letter.text);
    }
}
