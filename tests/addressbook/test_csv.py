"""Address books in CSV: ours, and those that makers' devices export."""

from __future__ import annotations

import pytest

from mailslot.plugin import InputError
from mailslot_plugins.addressbook.csv_file import read_csv, write_csv
from mailslot_plugins.addressbook.entry import Entry, make_entry

BOOK = [
    Entry("alice", 'Alice "A." Exämple', ("alice@example.com", "a@example.net"), (), ("accounting", "all")),
    Entry("fax", "=HYPERLINK()", (), ("FAX=+12027653000@gateway.example",), ()),
    Entry("経理", "経理部", ("keiri@example.jp",)),
    Entry("odd", "", ("=cmd|'/c'!a1@example.com",)),
]

CANON = b"""# Canon AddressBook CSV version: 0x0003
# CharSet: UTF-8
# dn: fixed
# DB Version: 0x010b

objectclass,cn,cnread,cnshort,subdbid,mailaddress,dialdata,
email,Alice Example,Alice,Alice,1,alice@example.com,,
ifax,Branch,Branch,Branch,1,branch@example.net,,
remotefilesystem,Share,Share,Share,1,,,
"""

RICOH = b"""# Format Version: 5.1.1.0,,,,
# Function Name: User Data Preference,,,,
"Index in ACLs and Groups","Name","Entry Type","Display Name","E-mail Address","Groups"
"[1]","[Alice]","[U]","[Alice Example]","[alice@example.com]","[1,2]"
"[2]","[Staff]","[G]","[Staff]","[]","[]"
"""

SHARP = b"""\xef\xbb\xbf"address","search-id","name","mail-address","fax-num"\r
"data","1","Alice Example","alice@example.com",""\r
"""

XEROX = b"""XrxAddressBookId,DisplayName,FirstName,LastName,E-mailAddress,InternetFaxAddress
1,,Alice,Example,alice@example.com,branch@example.net
"""

DEVELOP = (
    "@Ver406\tC-6e\tIntegrate\tUTF-16LE\t\n#Abbreviate\t2000\t\n"
    "AbbrNo\tName\tMailAddress\n1\tAlice Example\talice@example.com\n"
).encode("utf-16")

ALICE = Entry("alice-example", "Alice Example", ("alice@example.com",))


@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_what_is_exported_is_imported_unchanged(separator: str) -> None:
    octets = write_csv(BOOK, separator)
    assert octets.startswith(b"\xef\xbb\xbf")
    assert b"'=HYPERLINK" in octets
    assert f"{separator}=".encode() not in octets  # no spreadsheet takes it for a formula
    assert list(read_csv(octets).entries) == BOOK


@pytest.mark.parametrize("octets", [CANON, RICOH, SHARP, DEVELOP], ids=["canon", "ricoh", "sharp", "develop"])
def test_exports_of_makers_devices_are_read(octets: bytes) -> None:
    assert read_csv(octets).entries[0] == ALICE


def test_internet_fax_addresses_of_makers_are_fax_addresses() -> None:
    assert read_csv(CANON).entries[1] == Entry("branch", "Branch", (), ("branch@example.net",))
    [alice] = read_csv(XEROX).entries
    assert (alice.display_name, alice.fax_addresses) == ("Alice Example", ("branch@example.net",))


def test_rows_without_an_address_are_left_out_and_named() -> None:
    assert read_csv(CANON).left_out == ("Line 9: Share has no mail address.",)
    assert read_csv(RICOH).left_out == ("Line 5: Staff has no mail address.",)


def test_a_list_made_by_hand_needs_no_names() -> None:
    octets = "Anzeigename;E-Mail;Gruppe\nJörg Müller;j@example.com;Büro\nJörg Müller;j2@example.com;\n".encode()
    assert read_csv(octets).entries == (
        Entry("jörg-müller", "Jörg Müller", ("j@example.com",), (), ("büro",)),
        Entry("jörg-müller-2", "Jörg Müller", ("j2@example.com",)),
    )


@pytest.mark.parametrize(
    ("octets", "sentences"),
    [
        (b"name,email\nAlice,alice@example.com\n\nBob,bob@@example\nCarol,c d@x\n", ["Line 4: ", "Line 5: "]),
        (b'name,email\n"two\nlines",a@example.com\nBob,nonsense\n', ["Line 4: "]),
        (b'name,email\nAlice,"a@example.com\nBob,b@example.com\n', ["Line 2 is not CSV"]),
        (b"name,email\nAlice,a@example.com\nJ\xf6rg,j@example.com\n", ["Line 3 is not in UTF-8"]),
        (b"first,second\n1,2\n", ["No column holds addresses", "first, second"]),
        (b"", ["No column holds addresses"]),
        (b"name,display_name,addresses\na,A,a@example.com\nA,B,b@example.com\n", ["Line 3: a is on line 2"]),
    ],
)
def test_errors_name_their_lines(octets: bytes, sentences: list[str]) -> None:
    with pytest.raises(InputError) as caught:
        read_csv(octets)
    for sentence in sentences:
        assert sentence in str(caught.value)
    assert str(caught.value).count("Line ") <= len(sentences)


@pytest.mark.parametrize("name", ["", "@", "a b", "-a", "a@b", "a,b", "x" * 65, "a\nb"])
def test_names_that_could_not_be_typed_are_refused(name: str) -> None:
    with pytest.raises(InputError) as caught:
        make_entry(name, addresses=["a@example.com"])
    assert caught.value.key == "name"
