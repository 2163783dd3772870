"""The commonest words of English and of the other languages in Latin letters.

Function words make up a third to a half of any running text, so they tell English from the rest in most texts at the price of
one look into a table of a few hundred words. A word that two languages share counts for English if it is English (`die`, `an`,
`on`), so the foreign words are those that English does not have.
"""

from __future__ import annotations

from functools import cache

import numpy as np

_ENGLISH = """
the of and to in is you that it he was for are as with his they at be this have from or had by not but what all were we when your can
said there
use an each which she do how their if will up other about out many then them these so some her would make like him into time has look
two more
go see no way could my than first been call who its now find long down day did get come made may part on over such our me just because
people
should also any only very after before where why does doing being between through while during both under same few most much those too
take us am might really right around best try let tell things say off without able own once another again always never yes thank thanks
i'm it's don't can't didn't doesn't isn't you're i've that's there's let's what's here please give write name list following example
using
used help need want know think one new good work well even back every sentence word words create describe explain answer question
"""

_FOREIGN = """
der die das und ist nicht ein eine einen einem einer den dem des mit sich auf für von zu im auch es sie ich wir ihr wie aus bei nach
oder wird
sind war haben hat kann nur noch über wenn aber werden zum zur durch
le la les un une des du et est dans que qui pour pas sur au aux avec ce cette ces il elle nous vous je ne se sont plus ou par mais comme
être
son sa ses leur qu sans fait tout tous
el los las una unos de del y en es que por con para no se su sus lo al como más pero este esta son muy está cuando hay sin sobre ser
también
fue era yo mi tu si
il lo gli di che non per una sono con del della dei delle nel nella alla come anche più ma questo questa sono essere ha ho ai dal dalla
suo sua
o os um uma do da dos das em não com para por mais como mas ao foi ele ela seu sua são tem pelo pela isso você
de het een en van ik te dat die niet zijn op aan met voor er maar om hem dan zou wat mijn dit zo door over ze bij ook tot je uit naar
wordt
och att det som en på är av för med den till inte om ett han men var jag från vi så kan när har hon
og det er på en av til som med at for den ikke jeg har de vi et var fra han men kan om hun mig blev skal eller
ja ei se että oli hän joka mutta kun niin myös ovat tai sitä minä ole olen mitä kuin
nie się na jest że do to jak ale czy tak już co jego od po przez dla są był przed jako tylko lub oraz który
že se na je že si by do za ale jako pro jsou není byl nebo také tak ani který podle
az és hogy nem egy ez van meg is csak de már még volt mint el ki
și este nu cu care la pe din mai sunt pentru fost lui într ca să
ve bir bu da için ile çok olarak daha ne gibi kadar sonra olan ama değil var mi
yang dan di itu dengan untuk tidak ini dari dalam akan pada juga saya ke karena tersebut bisa ada atau adalah oleh anda kami mereka
telah sebagai
ang ng mga sa na ay ko ako mo siya hindi po kung
và của là có cho không được trong một người với các đã này để những khi
na ya wa kwa ni katika za la hii
i u je se da na su za nije od ili kao što ali samo biti
un ir ar ka par kas uz ti no pi vai
et non cum ad quod sunt qui sed ab esse
"""

_SIZE = 4096
MULTIPLIER = 0x1E2FEB89414C343D
"""Found by trial: with it no word of the lists is further away than one slot."""


def _key(word: str) -> int:
    return int.from_bytes(word.encode(), "big")


@cache
def slots() -> tuple[np.ndarray, np.ndarray]:
    """A hash table of both lists: keys (uint64, a word's letters as a number, 0 where empty) and whose they are (int64: 1 English,
    2 another's).

        A word is in the slot that its key says or in the next.

        Words that have letters beyond ASCII are left out (accents are counted themselves), apostrophes are not part of a key.
    """
    english = {word.replace("'", "") for word in _ENGLISH.split()}
    # Two letters or more, as the kernel counts no others.
    foreign = {word for word in _FOREIGN.split() if word.isascii() and 2 <= len(word) <= 8} - english - _BOTH
    keys = np.zeros(_SIZE + 1, dtype=np.uint64)
    kinds = np.zeros(_SIZE + 1, dtype=np.int64)
    for kind, words in ((1, {w for w in english if 2 <= len(w) <= 8}), (2, foreign)):
        for word in sorted(words):
            key = _key(word)
            slot = (key * MULTIPLIER % 2**64) >> 52
            if keys[slot]:
                slot += 1
            if keys[slot]:
                raise ValueError(f"no free slot for {word!r}: change MULTIPLIER")
            keys[slot], kinds[slot] = key, kind
    keys.flags.writeable = kinds.flags.writeable = False
    return keys, kinds


_AMBIGUOUS = """
    die war den per sin pi par of son men sera el la os ha ho mi tu si hat also ad non on at it de des van ai po ar al er es
    care se ze com door da ne era met plus pro var um em ve yo ma ali pour till mint ser mo dan le ca co te med los las ist is
    as in an was to by me sua za
"""
_BOTH = frozenset(_AMBIGUOUS.split())
"""Words of other languages that occur in English texts: words there too, in names, or as abbreviations."""
