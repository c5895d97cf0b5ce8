"""What a finished study found: claims, captions, tables; `figures` and the `page`. Torch is never imported here."""
