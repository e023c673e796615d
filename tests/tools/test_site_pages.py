"""What the site makes of pages: links between them, equations, pages of the API."""

from __future__ import annotations

import site_pages


def test_links_lead_to_the_pages_of_the_site():
    text = "[a](../README.md#limits) [b](data.md) ![c](avatar.jpg) [d](https://example.org/docs/x.md) [e](#here)"
    assert site_pages.relinked(text, "docs/guide.md") == text.replace("../README.md", "index.md")
    assert (
        site_pages.relinked("[a](docs/data.md#splits) [b](LICENSE)", "README.md") == "[a](data.md#splits) [b](LICENSE)"
    )
    assert site_pages.relinked("[a](../docs/results.md)", "benchmarks/README.md") == "[a](results.md)"


def test_equations_become_mathml_and_roles_plain_code():
    html = site_pages.on_page_content(
        '<p>a <span class="arithmatex">\\(x &lt; T_0\\)</span></p><div class="arithmatex">\\[\ny^2\n\\]</div>'
        "<p>see :class:<code>A</code></p>"
    )
    assert html.count("<math") == 2 and "arithmatex" not in html
    assert 'display="inline"' in html and 'display="block"' in html
    assert "<mo>&lt;</mo>" in html or "<mo>&#x0003C;</mo>" in html
    assert "<p>see <code>A</code></p>" in html


def test_every_package_has_a_page():
    pages = site_pages.api_pages()
    assert pages["api/models.md"] == f"{site_pages.LESS}# models\n\n::: nerfblendshape_ns.models\n"
    packages = {path.parent.name for path in (site_pages.ROOT / site_pages.PACKAGE).glob("*/__init__.py")}
    assert set(pages) == {"api/index.md", *(f"api/{name}.md" for name in packages)}
    assert all(f"]({name}.md) | " in pages["api/index.md"] for name in packages)
