-- What the dashboard shows of a tenant's product, where it differs from the profile's. Null: nothing.
ALTER TABLE tenants ADD COLUMN brand json; -- members: name, accent, logo (a data URL), docs_url, support_url
