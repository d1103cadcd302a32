//! Recognises whole sentences: beam search also finds captions that break off or repeat themselves.

/// Words that need another word after them: articles, determiners, conjunctions, prepositions, and verbs with an object.
const LEADING: &[&str] = &[
    "a", "an", "the", "his", "their", "its", "my", "your", "our", "this", "these", "those", "some", "each",
    "every", "another", "several", "many", "very", "and", "or", "but", "while", "as", "because", "who",
    "which", "than", "if", "when", "where", "of", "in", "at", "to", "from", "for", "with", "into", "onto",
    "near", "beside", "under", "between", "against", "toward", "towards", "like", "during", "among", "next",
    "is", "are", "was", "were", "be", "has", "have", "wearing", "holding",
];

/// Colours: a caption may contain one twice.
const COLOURS: &[&str] = &[
    "black", "blonde", "blue", "brown", "golden", "gray", "green", "grey", "orange", "pink", "purple", "red",
    "tan", "white", "yellow",
];

/// Other adjectives that captions put in front of a noun.
const ADJECTIVES: &[&str] = &[
    "big",
    "blond",
    "bright",
    "busy",
    "colorful",
    "dark",
    "different",
    "dirty",
    "empty",
    "grassy",
    "large",
    "little",
    "long",
    "muddy",
    "old",
    "older",
    "rocky",
    "sandy",
    "shallow",
    "small",
    "snowy",
    "striped",
    "tall",
    "wooden",
    "young",
    "younger",
];

/// Words before an adjective with which a caption may end: "is red", "a man in black".
const BEFORE_ADJECTIVES: &[&str] = &["all", "are", "dressed", "in", "is", "look", "looks", "wearing"];

/// Other function words, which a caption may contain twice.
const FUNCTION_WORDS: &[&str] = &[
    "on", "up", "down", "out", "off", "by", "over", "around", "through", "across", "along", "behind",
    "front", "top", "side", "back", "it", "he", "she", "they", "her", "him", "them", "one", "two", "three",
    "four", "five", "there", "that", "other", "all", "both", "not",
];

/// Whether a caption of these words, in lower case, neither breaks off nor repeats itself.
///
/// A caption breaks off if it ends with an article, determiner, conjunction or preposition, or with an adjective without its noun.
/// It repeats itself if a word follows itself, or if it contains a noun, verb or other content word twice. These rules only choose
/// between hypotheses: the first one rejects one in a hundred sentences written by people, the second one in twenty.
pub(super) fn is_whole(words: &[&str]) -> bool {
    let has_letters = |word: &&str| word.chars().any(char::is_alphanumeric);
    let words: Vec<&str> = words.iter().copied().filter(has_letters).collect();
    !words.is_empty() && !breaks_off(&words) && !repeats(&words)
}

fn breaks_off(words: &[&str]) -> bool {
    let is_adjective = |word: &&&str| COLOURS.contains(*word) || ADJECTIVES.contains(*word);
    let adjectives = words.iter().rev().take_while(|word| is_adjective(word) || **word == "and");
    match (adjectives.count(), words) {
        (0, [.., last]) => LEADING.contains(last),
        (_, [.., "and"]) => true,
        (count, _) => {
            let before = words.len().checked_sub(count + 1).and_then(|index| words.get(index));
            !before.is_some_and(|before| BEFORE_ADJECTIVES.contains(before))
        }
    }
}

fn repeats(words: &[&str]) -> bool {
    let may_return = [LEADING, COLOURS, FUNCTION_WORDS];
    words.iter().enumerate().any(|(at, word)| {
        let is_content = || may_return.iter().all(|list| !list.contains(word));
        (at > 0 && words[at - 1] == *word) || (words[..at].contains(word) && is_content())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn whole(sentence: &str) -> bool {
        is_whole(&sentence.split(' ').collect::<Vec<_>>())
    }

    #[test]
    fn whole_sentences_are_recognised() {
        for sentence in [
            "a dog runs on the beach",
            "a man in black",
            "a dog that is black and white",
            "two men in red and blue are wearing white",
            "a man in a red shirt throws a red ball .",
            "a man in front of a wall and a dog in front of it",
            "two dogs look at each other",
        ] {
            assert!(whole(sentence), "{sentence}");
        }
    }

    #[test]
    fn captions_that_break_off_are_rejected() {
        for sentence in [
            "a dog runs on the",
            "a dog runs on the .",
            "a man in a",
            "a man and",
            "a man with a black and",
            "a man with a red and white",
            "a boy with a small",
            "black and white",
            "white and",
            "a woman wearing",
            "",
            ".",
        ] {
            assert!(!whole(sentence), "{sentence}");
        }
    }

    #[test]
    fn captions_that_repeat_themselves_are_rejected() {
        for sentence in [
            "a kitchen with a kitchen",
            "a woman and a woman sit on a bench",
            "a red red ball",
            "a a dog",
            "a man is riding a surfboard on a surfboard",
        ] {
            assert!(!whole(sentence), "{sentence}");
        }
    }
}
