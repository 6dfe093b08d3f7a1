"""Languages of what people read: catalogues, numbers, dates and templates; knows no blood and no page."""
