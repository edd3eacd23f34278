//! Mandarin, simplified; the traditional characters of these words are read as simplified ones.

use super::number::{self, GREATEST, known, parts};
use super::{Frame, Tongue, digits};
use crate::Universal;
use crate::rule::{Rule, Written, any, fold, means, opt, pattern, rare, seq, words};
use crate::tag::{
    Part, Tag, Which, as_cents, as_day, as_days, as_days_ago, as_hour, as_hundred_millions, as_minute,
    as_minutes_before, as_month, as_myriads, as_tens_of_cents, as_thousands, as_weeks, digits_as_year,
};
use std::sync::LazyLock;

/// Mandarin.
pub(super) struct Mandarin;

const DIGITS: [&str; 10] = ["零", "一", "二", "三", "四", "五", "六", "七", "八", "九"];

static SMALL: LazyLock<Vec<Rule>> = LazyLock::new(|| number::small(below_hundred));
static HUNDREDS: LazyLock<Vec<Rule>> = LazyLock::new(|| number::hundreds(|n| format!("{}百", counted(n))));
static FRAME: LazyLock<Frame> = LazyLock::new(|| Frame::of(&Mandarin));
static GROUPS: LazyLock<Vec<(usize, Rule)>> = LazyLock::new(|| digits::groups(&Mandarin, "百", "千"));
static DATE: LazyLock<Rule> = LazyLock::new(date);
static TIME: LazyLock<Rule> = LazyLock::new(time);

/// A digit in front of what is counted: 两 is as good as 二 there.
fn counted(n: usize) -> &'static str {
    if n == 2 { "(二|两)" } else { DIGITS[n] }
}

fn below_hundred(n: usize) -> String {
    match (n / 10, n % 10) {
        (0, 0) => "零|〇".into(),
        (0, ones) => counted(ones).into(),
        (tens, ones) => {
            let tens = if tens == 1 { "[一]" } else { DIGITS[tens] };
            format!("{tens} 十{}", if ones == 0 { "" } else { DIGITS[ones] })
        }
    }
}

fn spoken(min: u32, max: u32) -> Rule {
    if min > max {
        return any([]);
    }
    let below = |min, max| spoken(min, max);
    let scaled =
        |unit: &'static str, how| move |first: u32, last: u32| fold(seq([spoken(first, last), words(unit)]), how);
    let parts = |scale: u32, times: &dyn Fn(u32, u32) -> Rule| {
        // A place that is skipped is said: 一百零五. A single digit at the end may be of the next place: 一百二.
        let rest = |from: u32, to: u32| {
            let tenth = scale / 10;
            let short = (1..10).filter(|n| (from..=to).contains(&(n * tenth)) && tenth > 1);
            let short = short.map(|n| means(counted(n as usize), Tag::Add(n * tenth)));
            any([seq([words("零|〇"), spoken(from, to.min(tenth - 1))]), spoken(from.max(tenth), to), rare(any(short))])
        };
        parts(min, max, scale, &below, times, &rest)
    };
    match max {
        0..100 => known(&SMALL[min as usize..=max as usize]),
        100..1_000 => parts(100, &|first, last| known(&HUNDREDS[first as usize..=last as usize])),
        1_000..10_000 => parts(1_000, &scaled("千", as_thousands)),
        10_000..100_000_000 => parts(10_000, &scaled("万", as_myriads)),
        _ => parts(100_000_000, &scaled("亿", as_hundred_millions)),
    }
}

fn whole(min: u32, max: u32) -> Rule {
    let max = max.min(GREATEST);
    any([Rule::Written(Written::Whole(min, max)), spoken(min, max)])
}

impl Tongue for Mandarin {
    fn frame(&self) -> &'static Frame {
        &FRAME
    }

    fn hesitations(&self) -> &'static [&'static str] {
        &["嗯", "呃", "额", "啊", "哦", "噢", "唉", "诶"]
    }

    fn articles(&self) -> &'static [&'static str] {
        &["的", "个"]
    }

    fn turning(&self) -> &'static [&'static str] {
        &["不", "没", "别", "除", "前", "后", "或"]
    }

    fn lead(&self) -> &'static str {
        "[你好|您好] [好|好的|那个|那|就] [请|麻烦|帮我|请帮我|我想|我要|我想要|我需要|我们要|就是|是|应该是|大概是|大概|可能是|可能|来|给我]"
    }

    fn wish(&self, kind: &str) -> &'static str {
        if kind == "choices" { "我想|我要|我想要|请" } else { "" }
    }

    fn tail(&self) -> &'static str {
        "吧|呀|呢|的|了|谢谢|谢谢你|谢谢您|可以吗|好吗|行吗|左右|就好|就行|好了"
    }

    fn yes(&self) -> &'static str {
        "是[的|啊|呀]|对[的|啊|呀]|对对[对]|好[的|啊|呀|吧]|可以|行|没问题|没错|嗯|要|愿意|我愿意|当然[可以|是|要]|正确|确定|确认|是这样[的]|同意|需要"
    }

    fn no(&self) -> &'static str {
        "不|不是[的]|不对|不行|不可以|不要|不用[了]|不了|没有|错[了]|错误|不好|不愿意|我不愿意|否|不需要|不正确|不同意|不必[了]|别"
    }

    fn firm(&self) -> [(&'static str, &'static [&'static str]); 2] {
        [
            ("是|对|好|可以|行", &["不", "没", "别", "吗", "错", "或", "但"]),
            ("不|没有", &["知", "清", "确", "定", "懂", "明", "或", "但"]),
        ]
    }

    fn universal(&self, which: Universal) -> &'static str {
        match which {
            Universal::Repeat => {
                "[请|麻烦] [您|你] (再说|再讲|重复|再重复) [一遍|一次|一下]|再来一遍|再来一次|[我] 没听清[楚]|[我] 没听见|[我] 听不清[楚]|[我] 没听懂\
                 |[你|您] 说什么|什么|你说啥"
            }
            Universal::Help => {
                "[我需要|请] 帮助|帮帮我|[请] 帮忙|我可以说什么|我能说什么|我该说什么|(有什么|有哪些|什么) 选项|怎么用|怎么操作"
            }
            Universal::Operator => {
                "[请|我要|我想|帮我] [转|接|转接|找] (人工|人工服务|人工客服|客服|接线员|总机|真人|工作人员)\
                 |[我要|我想] (找|和|跟) (人|真人|工作人员) [说话|讲话|说|谈]"
            }
        }
    }

    fn places(&self) -> [&'static str; 9] {
        [
            "第一[个|项|种]",
            "第二[个|项|种]",
            "第三[个|项|种]",
            "第四[个|项|种]",
            "第五[个|项|种]",
            "第六[个|项|种]",
            "第七[个|项|种]",
            "第八[个|项|种]",
            "第九[个|项|种]",
        ]
    }

    fn last(&self) -> &'static str {
        "最后[一] [个|项|种]"
    }

    fn numbered(&self) -> &'static str {
        "[选|按|选择] <n> [号|键]"
    }

    fn digit(&self, digit: usize) -> &'static str {
        ["零|〇", "一|幺", "二|两", "三", "四", "五", "六", "七", "八", "九"][digit]
    }

    fn repeated(&self) -> [&'static str; 2] {
        ["两个", "三个"]
    }

    fn below_hundred(&self, n: usize) -> String {
        below_hundred(n)
    }

    fn digit_groups(&self) -> &'static [(usize, Rule)] {
        &GROUPS
    }

    fn scales(&self) -> &'static [&'static str] {
        &["百", "千", "万", "亿", "点"]
    }

    fn plus(&self) -> &'static str {
        "加|加号"
    }

    fn number(&self, min: u32, max: u32) -> Rule {
        seq([whole(min, max), opt(words("个|位|名|人|间|次"))])
    }

    fn amount(&self, units: Rule) -> Rule {
        let named_currency = any([
            means("美元|美金", Tag::Currency("USD")),
            means("欧元", Tag::Currency("EUR")),
            means("英镑", Tag::Currency("GBP")),
            means("港元|港币", Tag::Currency("HKD")),
            means("日元", Tag::Currency("JPY")),
            means("新台币|台币", Tag::Currency("TWD")),
            means("人民币", Tag::Currency("CNY")),
            means("瑞士法郎|瑞郎", Tag::Currency("CHF")),
        ]);
        let unit = means("元|块|块钱|圆", Tag::Currency("元"));
        let currency = any([unit, named_currency]);
        let tenths = fold(any([known(&SMALL[1..=9]), Rule::Written(Written::Whole(1, 9))]), as_tens_of_cents);
        let hundredths = fold(any([known(&SMALL[1..=9]), Rule::Written(Written::Whole(1, 9))]), as_cents);
        let named = |name: &str| match name {
            "units" => Some(units.clone()),
            "currency" => Some(currency.clone()),
            "jiao" => Some(tenths.clone()),
            "fen" => Some(hundredths.clone()),
            _ => None,
        };
        any([
            super::written_money(&currency),
            pattern("[人民币] <units> <currency> [<jiao> [(角|毛) [<fen> [分]]]]", &named),
            pattern("<units> <currency> [零] <fen> 分", &named),
            pattern("<jiao> (角|毛) [钱|<fen> [分]]", &named),
            pattern("<fen> 分 [钱]", &named),
            pattern("<units>", &named),
            rare(super::decimal(self, "点", &units, &currency)),
        ])
    }

    fn date(&self) -> Rule {
        Rule::Known(&DATE)
    }

    fn time(&self) -> Rule {
        Rule::Known(&TIME)
    }

    fn lead_of(&self, kind: &str) -> &'static str {
        match kind {
            "date" | "time" => "在|于|定在|约在|订|约|大约|今天|明天",
            "digits" | "phone" => "[我的] (电话|电话号码|手机|手机号|手机号码|号码|密码|编号) [是]",
            "number" => "一共|总共|有|我们有",
            "amount" => "一共|总共|大概|大约",
            _ => "要|选|选择",
        }
    }
}

fn figure(from: u32, to: u32, how: fn(&[Tag]) -> Option<Tag>) -> Rule {
    any([Rule::Written(Written::As(from, to, how)), fold(known(&SMALL[from as usize..=to as usize]), how)])
}

fn date() -> Rule {
    let weekday = |which: Which| {
        let days = (1..).zip(["一", "二", "三", "四", "五", "六", "(日|天)"]);
        seq([words("周|星期|礼拜"), any(days.map(|(n, name)| means(name, Tag::Weekday(n, which))))])
    };
    let years = any([
        means("今年", Tag::Years(0)),
        means("明年", Tag::Years(1)),
        rare(means("后年", Tag::Years(2))),
        rare(means("去年", Tag::Years(-1))),
        seq([Rule::Written(Written::As(1_900, 2_199, crate::tag::as_year)), words("年")]),
        rare(seq([
            fold(
                seq([
                    any([means("一九", Tag::Add(1_900)), means("二(零|〇)", Tag::Add(2_000))]),
                    Rule::Run { units: &GROUPS[..1], min: 2, max: 2 },
                ]),
                digits_as_year,
            ),
            words("年"),
        ])),
    ]);
    let months = any([means("这个月|本月", Tag::Months(0)), means("下个月|下月", Tag::Months(1))]);
    let count = |how| fold(any([Rule::Written(Written::Whole(1, 99)), known(&SMALL[1..=99])]), how);
    let named = |name: &str| {
        Some(match name {
            "day" => figure(1, 31, as_day),
            "month" => figure(1, 12, as_month),
            "year" => years.clone(),
            "months" => months.clone(),
            "weekday" => weekday(Which::Plain),
            "this" => weekday(Which::Week(0)),
            "next" => weekday(Which::Week(1)),
            "after-next" => weekday(Which::Week(2)),
            "last" => weekday(Which::Week(-1)),
            "days" => count(as_days),
            "days-ago" => count(as_days_ago),
            "weeks" => count(as_weeks),
            "figures" => Rule::Written(Written::Date { month_first: true }),
            _ => return None,
        })
    };
    let read = |notation: &str| pattern(notation, &named);
    let spoken = any([
        means("今天|今日|今儿", Tag::Days(0)),
        means("明天|明日|明儿", Tag::Days(1)),
        means("后天", Tag::Days(2)),
        means("大后天", Tag::Days(3)),
        rare(means("昨天|昨日", Tag::Days(-1))),
        rare(means("前天", Tag::Days(-2))),
        read("<weekday>"),
        read("(这|这个|本) <this>"),
        read("(下|下个|下一个) <next>"),
        rare(read("下下 [个] <after-next>")),
        rare(read("(上|上个) <last>")),
        read("[<year>] <month> 月 <day> [号|日] [<weekday>]"),
        read("[<months>] <day> (号|日) [<weekday>]"),
        rare(read("<days> 天 (后|以后|之后)")),
        rare(read("<days-ago> 天 (前|以前|之前)")),
        rare(read("<weeks> (周|[个] 星期|[个] 礼拜) (后|以后|之后)")),
        rare(read("<figures>")),
    ]);
    seq([spoken, opt(rare(crate::rule::aside(words("上午|下午|晚上|早上|中午"))))])
}

fn time() -> Rule {
    let part = any([
        means("上午|早上|早晨|清晨|今早", Tag::Part(Part::Morning)),
        means("中午", Tag::Part(Part::Noon)),
        means("下午", Tag::Part(Part::Afternoon)),
        means("晚上|傍晚|今晚|夜里", Tag::Part(Part::Evening)),
        means("凌晨|半夜", Tag::Part(Part::Am)),
    ]);
    let minute = any([figure(1, 59, as_minute), seq([words("零|〇|过"), figure(1, 9, as_minute)])]);
    let named = |name: &str| {
        Some(match name {
            "part" => part.clone(),
            "hour" => figure(0, 24, as_hour),
            "minute" => minute.clone(),
            "before" => any([figure(1, 59, as_minutes_before), means("一刻", Tag::Before(15))]),
            "half" => means("半", Tag::Minute(30)),
            "quarter" => any([means("[过] 一刻", Tag::Minute(15)), means("三刻", Tag::Minute(45))]),
            "clock" => Rule::Written(Written::Clock),
            _ => return None,
        })
    };
    let read = |notation: &str| pattern(notation, &named);
    any([
        seq([means("正午|中午", Tag::Hour(12)), Rule::Means(Tag::Exact)]),
        seq([means("午夜|零点|半夜十二点", Tag::Hour(0)), Rule::Means(Tag::Exact)]),
        read("[<part>] <hour> (点|时) [钟|整|正]"),
        read("[<part>] <hour> (点|时) (<half>|<quarter>)"),
        read("[<part>] <hour> (点|时) <minute> [分]"),
        read("[<part>] 差 <before> [分] <hour> 点"),
        rare(read("[<part>] <hour> 点 差 <before> [分]")),
        rare(read("[<part>] <clock>")),
    ])
}
