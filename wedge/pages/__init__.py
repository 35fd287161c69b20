"""Pages for the browser: what they show, and how they are made. Everything that a page needs lies in ``assets``."""
