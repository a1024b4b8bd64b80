-- A stock keeping unit is looked up without regard to case, as product-admin keeps it unique.
create index catalogue_product_sku_any_case on catalogue_product (lower(sku));
