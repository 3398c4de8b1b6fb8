//! Numbers and their arithmetic.

use silvertine_engine::numbers::{Money, ParseNumberError, Price, Qty, Ratio};

use super::assert_one_line;

/// Decimals: the four types agree on what a number is, every value is shown so that it parses back, and arithmetic ends
/// in a value or in an error.
pub fn numbers(bytes: &[u8]) {
    check_decimal(bytes);
    if let Some((words, rest)) = bytes.split_first_chunk::<16>()
        && let Some((wide, _)) = rest.split_first_chunk::<16>()
    {
        let both = i128::from_le_bytes(*words);
        check_values(both as i64, (both >> 64) as i64, i128::from_le_bytes(*wide));
    }
}

fn check_decimal(text: &[u8]) {
    let price = Price::parse(text);
    assert_eq!(Qty::parse(text).map(Qty::units), price.map(Price::units));
    if let Err(why) = price {
        assert_one_line(&why);
    }
    match (price, Qty::parse_truncating(text)) {
        (Ok(exact), cut) => assert_eq!(cut, Ok(Qty::from_units(exact.units()))),
        // The excess may be cut, and something else be wrong behind it.
        (Err(ParseNumberError::TooPrecise), _) => {}
        (Err(why), cut) => assert_eq!(cut, Err(why)),
    }
    let Ok(text) = std::str::from_utf8(text) else { return };
    assert_eq!(text.parse(), price);
    assert_eq!(text.parse::<Ratio>().map(Ratio::units), price.map(Price::units));
    let money = text.parse::<Money>();
    match (price, money) {
        // Money reaches further; otherwise the two are spelled the same.
        (Err(ParseNumberError::OutOfRange), Ok(money)) => {
            assert!(i64::try_from(money.units()).is_err(), "{text}");
        }
        // A number that is wrong twice is refused for either reason.
        (Err(_), Err(why)) => assert_one_line(&why),
        (price, money) => {
            assert_eq!(money, price.map(|price| Money::from_units(price.units().into())), "{text}");
        }
    }
    if let Ok(money) = money {
        assert_eq!(money.to_string().parse(), Ok(money));
    }
}

fn check_values(a: i64, b: i64, wide: i128) {
    let (price, qty, ratio) = (Price::from_units(a), Qty::from_units(b), Ratio::from_units(b));
    let money = Money::from_units(wide);
    assert_eq!(price.to_string().parse(), Ok(price));
    assert_eq!(money.to_string().parse(), Ok(money));
    let json = serde_json::to_string(&(price, qty, ratio, money)).expect("plain data");
    assert_eq!(serde_json::from_str::<(Price, Qty, Ratio, Money)>(&json).expect(&json), {
        (price, qty, ratio, money)
    });
    // Only that they end: what they compute has tests of its own.
    let notional = price.notional(qty);
    let _ends = (price.midpoint(Price::from_units(b)), qty.abs(), qty.negated());
    let _ends = (qty.scaled(ratio), money.scaled(ratio), money.per_unit(qty));
    let _ends = (money.pro_rata(Qty::from_units(a), qty), notional.pro_rata(qty, qty));
    let sums = [money.checked_add(notional), money.checked_sub(notional)];
    for sum in sums.into_iter().flatten() {
        assert_eq!(sum.to_string().parse(), Ok(sum));
    }
}
